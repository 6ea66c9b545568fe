-- needs: names index jobs gates edges flows records selection
-- Takes filter, states, limit, cursor, with_log, bookmarks (job: {line, piece}), with_parents, brief.
-- Gives {rows, cursor or nil}.

local REACH = 2000 -- how many jobs one page looks at

local request = cjson.decode(ARGV[1])
local ids, cursor = Selection.walk(request.filter, request.states, request.limit, request.cursor, REACH)
local marks, rows = request.bookmarks or {}, {}
for _, id in ipairs(ids) do
  local row = Records.row(id, request.with_log and (marks[id] or {}), request.with_parents, request.brief)
  if row then rows[#rows + 1] = row end
end
return { rows, cursor or false }
