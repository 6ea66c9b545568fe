-- needs: names index jobs keys gates edges flows audit
-- Takes keep_ms (states of which jobs that have ended longer ago are too old), most (how many jobs of each of these
-- states are kept, whatever their age), limit, keep_audit_ms or null, now. Gives how many jobs are gone.

local request = cjson.decode(ARGV[1])
local now, limit = clock(request.now), request.limit
local queues = call('SMEMBERS', Names.queues)
local gone = 0

local function forget(listing, id)
  local job = Jobs.load(id)
  if job then
    Keys.job_pruned(job)
    Jobs.delete(job)
    Edges.drop(job)
  else
    Index.take(listing, id)
  end
  gone = gone + 1
end

local function count(state)
  local number = 0
  for _, queue in ipairs(queues) do number = number + call('ZCARD', Names.listing(state, queue)) end
  return number
end

-- Up to `room` of the jobs of a state that have ended first: no queue is read further than its share of them, and
-- nothing is taken that ended later than what was not read.
local function first(state, room)
  local share, found, horizon = math.ceil(room / #queues) + 8, {}, math.huge
  for _, queue in ipairs(queues) do
    local listing = Names.listing(state, queue)
    local some = call('ZRANGE', listing, 0, share - 1, 'WITHSCORES')
    for number = 1, #some, 2 do
      found[#found + 1] = { listing = listing, id = some[number], time = tonumber(some[number + 1]) }
    end
    if #some == 2 * share then horizon = math.min(horizon, tonumber(some[#some])) end
  end
  table.sort(found, function(one, other) return one.time < other.time end)
  local chosen = {}
  for number = 1, math.min(room, #found) do
    if found[number].time > horizon then break end
    chosen[number] = found[number]
  end
  return chosen
end

for state, keep_ms in pairs(request.keep_ms) do
  local before = '(' .. string.format('%.0f', now - keep_ms)
  for _, queue in ipairs(queues) do
    if gone == limit then break end
    local listing = Names.listing(state, queue)
    local old = call('ZRANGEBYSCORE', listing, '-inf', before, 'LIMIT', 0, limit - gone)
    for _, id in ipairs(old) do forget(listing, id) end
  end
  Index.flush()
  local room = math.min(count(state) - request.most, limit - gone)
  for _, job in ipairs(room > 0 and first(state, room) or {}) do forget(job.listing, job.id) end
end
for _, name in ipairs(call('ZRANGEBYSCORE', Names.expiring, '-inf', now, 'LIMIT', 0, limit)) do
  Keys.forget(name, call('HGET', Names.key(name), 'job') or '')
end
Gates.finish()
Index.flush()
Flows.prune(limit)
Gates.prune(now, limit)
if request.keep_audit_ms then Audit.prune(now - request.keep_audit_ms, limit) end
Index.finish()
return gone
