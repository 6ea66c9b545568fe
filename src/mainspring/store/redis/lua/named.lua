-- needs: names index jobs gates edges flows selection
-- Takes filter (with ids), states. Gives those that fit, in no order: final?, time, id.

local request = cjson.decode(ARGV[1])
local places = {}
for number, place in ipairs(Selection.named(request.filter, request.states)) do
  places[number] = { place.side == 'final' and 1 or 0, place.time, place.id }
end
return places
