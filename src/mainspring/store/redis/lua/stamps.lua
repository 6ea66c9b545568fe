-- needs: names index jobs gates edges records
-- Takes ids. Gives those that are there, each followed by its stamp.

local stamps = {}
for _, id in ipairs(cjson.decode(ARGV[1]).ids) do
  local stamp = Records.stamp(id)
  if stamp then
    stamps[#stamps + 1] = id
    stamps[#stamps + 1] = stamp
  end
end
return stamps
