-- needs: names stats
-- Takes steps (lengths of stretches), since, queue, task, cursor, limit. Gives {how often cells were rolled up by now,
-- cursor or nil, stretches: step, at, {queue, task, "name number name number ...", queue, task, ...}}: about as many
-- cells as asked for. A stretch of many cells comes in pieces, and a cell of it may come twice. The numbers of a cell
-- are one text, since a client takes its time over each value of a reply.

local SCANNED = 100
local PASSED_BY = 0.1 -- what a cell that is not asked for costs, of one that is

local request = cjson.decode(ARGV[1])
local queue, task = request.queue, request.task
local stretches, done, cursor = {}, 0, nil
local from = request.cursor and cjson.decode(request.cursor) or { 1, request.since, '0' }

-- Some members of the set of a stretch's cells, and where to go on: '0' at the end.
local function scan(step, at, place)
  if queue and task then return '0', { queue .. '\0' .. task } end
  local page = call('SSCAN', Names.stats_at(step, at), place, 'COUNT', SCANNED)
  return page[1], page[2]
end

-- One piece of a stretch, added to its cells; gives where to go on.
local function look(step, at, place, cells)
  local next, members = scan(step, at, place)
  for _, member in ipairs(members) do
    local of_queue, of_task = string.match(member, '^(%Z*)%z(%Z*)$')
    if (not queue or queue == of_queue) and (not task or task == of_task) then
      local numbers = call('HGETALL', Names.stats(step, at, of_queue, of_task))
      if #numbers > 0 then
        cells[#cells + 1] = of_queue
        cells[#cells + 1] = of_task
        cells[#cells + 1] = table.concat(numbers, ' ')
      end
      done = done + 1
    else
      done = done + PASSED_BY
    end
  end
  return next
end

for number = from[1], #request.steps do
  local step = request.steps[number]
  local first = number == from[1] and from[2] or request.since
  for _, at in ipairs(call('ZRANGEBYSCORE', Names.stats_times(step), string.format('%.0f', first), '+inf')) do
    local place = number == from[1] and tonumber(at) == from[2] and from[3] or '0'
    local cells = {}
    repeat
      if done >= request.limit then
        cursor = { number, tonumber(at), place }
        break
      end
      place = look(step, at, place, cells)
    until place == '0'
    if #cells > 0 then stretches[#stretches + 1] = { step, tonumber(at), cells } end
    if cursor then break end
  end
  if cursor then break end
end
return { call('GET', Names.stats_rolled) or '0', cursor and cjson.encode(cursor) or false, stretches }
