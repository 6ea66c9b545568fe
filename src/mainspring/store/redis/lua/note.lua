-- needs: names index jobs gates notes
-- Takes notes. Gives the ids of those that were written.

local request = cjson.decode(ARGV[1])
local mine = {}
for _, note in ipairs(request.notes) do
  if Notes.write(note) then mine[#mine + 1] = note.id end
end
Index.finish()
return mine
