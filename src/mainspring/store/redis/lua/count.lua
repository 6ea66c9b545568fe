-- needs: names index jobs gates edges flows selection
-- Takes filter, states, cursor, reach (how many jobs are looked at, where it is one by one), now. Gives {now, cursor or
-- nil, tallies: queue, state, count, oldest or false}. What the sorted sets do not say by themselves is counted bit by
-- bit. Where ahead_of, the one tally is how many queued jobs of that job's partition are served before it.

local ORDER = 2 ^ 43

local request = cjson.decode(ARGV[1])
local now, filter = clock(request.now), request.filter
local tallies = {}

-- Since when the longest-waiting job of a queue has been due: the first of each priority is the oldest of it.
local function oldest(queue)
  local key = Names.order(queue, '', '')
  local first, from = nil, '-inf'
  while true do
    local head = call('ZRANGEBYSCORE', key, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if not head[1] then break end
    local score = tonumber(head[2])
    local priority = math.floor(score / ORDER)
    local run_at = score - priority * ORDER
    if not first or run_at < first then first = run_at end
    from = (priority + 1) * ORDER
  end
  local elsewhere = call('ZRANGE', Names.by_time(queue), 0, 0, 'WITHSCORES')
  if elsewhere[2] then first = math.min(first or math.huge, tonumber(elsewhere[2])) end
  return first
end

-- How many are served before a queued job, in whichever lane of its partition they are.
local function ahead_of(job)
  local lanes, count = Gates.tasks(), 0
  lanes[#lanes + 1] = ''
  for _, gate in ipairs(lanes) do
    local key = Names.order(job.queue, job.partition, gate)
    count = count + call('ZCARD', key) - Selection.rank_after(key, job.priority * ORDER + job.run_at, job.id)
  end
  return count
end

if request.ahead_of then
  local job = Jobs.load(request.ahead_of)
  local count = job and job.state == 'queued' and ahead_of(job) or 0
  return { now, false, count > 0 and { { job.queue, 'queued', count, false } } or {} }
end

if filter.ids or filter.task or filter.partition or filter.flow or filter.text or filter.tag then
  local ids, cursor = Selection.walk(filter, request.states, request.reach, request.cursor, request.reach)
  local counts = {}
  for _, id in ipairs(ids) do
    local values = call('HMGET', Names.job(id), 'queue', 'state')
    if values[2] then
      local of_queue = counts[values[1]] or {}
      counts[values[1]] = of_queue
      of_queue[values[2]] = (of_queue[values[2]] or 0) + 1
    end
  end
  for queue, of_queue in pairs(counts) do
    for state, count in pairs(of_queue) do tallies[#tallies + 1] = { queue, state, count, false } end
  end
  return { now, cursor or false, tallies }
end

local timed = filter.since or filter['until']
for _, queue in ipairs(filter.queue and { filter.queue } or call('SMEMBERS', Names.queues)) do
  for _, state in ipairs(request.states) do
    local key = Names.listing(state, queue)
    local count = timed and call('ZCOUNT', key, filter.since or '-inf', filter['until'] or '+inf') or call('ZCARD', key)
    if count > 0 then
      local since = not timed and state == 'queued' and oldest(queue)
      tallies[#tallies + 1] = { queue, state, count, since }
    end
  end
end
return { now, false, tallies }
