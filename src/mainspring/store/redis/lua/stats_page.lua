-- needs: names stats
-- Takes steps (lengths of stretches), since, queue, task, cursor, limit. Gives {how often cells were rolled up by now,
-- cursor or nil, cells: at, queue, task, "name number name number ..."}: whole stretches, until there are about as many
-- cells as asked for. The numbers of a cell are one text, since a client takes its time over each value of a reply.

local request = cjson.decode(ARGV[1])
local cells, cursor = {}, nil
local from = request.cursor and cjson.decode(request.cursor) or { 1, request.since }

for number = from[1], #request.steps do
  local step = request.steps[number]
  local first = number == from[1] and from[2] or request.since
  local times = call('ZRANGEBYSCORE', Names.stats_times(step), string.format('%.0f', first), '+inf')
  for _, at in ipairs(times) do
    if #cells >= request.limit then
      cursor = { number, tonumber(at) }
      break
    end
    for _, member in ipairs(call('SMEMBERS', Names.stats_at(step, at))) do
      local queue, task = string.match(member, '^(%Z*)%z(%Z*)$')
      if (not request.queue or request.queue == queue) and (not request.task or request.task == task) then
        local numbers = table.concat(call('HGETALL', Names.stats(step, at, queue, task)), ' ')
        cells[#cells + 1] = { tonumber(at), queue, task, numbers }
      end
    end
  end
  if cursor then break end
end
return { call('GET', Names.stats_rolled) or '0', cursor and cjson.encode(cursor) or false, cells }
