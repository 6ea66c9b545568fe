-- needs: names index jobs keys gates turns edges ends revival claims
-- Takes worker, rooms ([queue, limit]), limit, held (ids) or null, now. Gives {now, alive, next_due or nil, number of
-- rows of jobs that ran already, rows}. Due jobs are promoted, then each room is served.

local PROMOTED_AT_ONCE = 500

local request = cjson.decode(ARGV[1])
local now, worker = clock(request.now), request.worker
local expires_at = tonumber(call('ZSCORE', Names.workers, worker) or 0)
if expires_at <= now then return { now, 0, false, 0, {} } end
Edges.go_on(now)

local queues, seen = {}, {}
for _, room in ipairs(request.rooms) do
  if not seen[room[1]] then
    seen[room[1]] = true
    queues[#queues + 1] = room[1]
  end
end

for _, queue in ipairs(queues) do
  for _, id in ipairs(call('ZRANGEBYSCORE', Names.due(queue), '-inf', now, 'LIMIT', 0, PROMOTED_AT_ONCE)) do
    local job = Jobs.load(id)
    if job and job.state == 'scheduled' then
      Jobs.move(job, 'queued', {})
    else
      Index.take(Names.due(queue), id)
    end
  end
end
Gates.finish()
Index.flush()

local rows = {}
if request.held then
  local held = {}
  for _, id in ipairs(request.held) do held[id] = true end
  local running = call('ZRANGE', Names.running_by(worker), 0, -1)
  table.sort(running, bytes_before)
  for _, id in ipairs(running) do
    if not held[id] then rows[#rows + 1] = (Claims.running(id, true)) end
  end
end
local again = #rows

local function give(id)
  local row = Claims.start(id, worker, now)
  if row then rows[#rows + 1] = row end
  return row
end

local looks = {}
for _, room in ipairs(request.rooms) do
  local queue, limit = room[1], math.min(room[2], request.limit - #rows)
  local look = looks[queue] or Gates.look(queue, now)
  looks[queue] = look
  if look.concurrency then
    look.left = look.left or math.max(0, look.concurrency - call('ZCARD', Names.listing('running', queue)))
    limit = math.min(limit, look.left)
  end
  if limit > 0 and not look.paused then
    local before = #rows
    if look.by_turns then
      Turns.serve(queue, look, limit, now, give)
    else
      local found = call('ZPOPMIN', Names.order(queue, '', ''), limit)
      for number = 1, #found, 2 do give(found[number]) end
    end
    if look.left then look.left = look.left - (#rows - before) end
  end
end
if #rows > 0 then call('ZADD', Names.owners, 0, worker) end
Gates.finish()
Index.finish()

local next_due
for _, queue in ipairs(queues) do
  local first = call('ZRANGE', Names.due(queue), 0, 0, 'WITHSCORES')
  local at = first[2] and tonumber(first[2])
  local look = looks[queue]
  if look and look.by_turns and not look.paused and look.left ~= 0 then
    local opens_at = Turns.opens_at(queue, look)
    if opens_at and (not at or opens_at < at) then at = opens_at end
  end
  if at and (not next_due or at < next_due) then next_due = at end
end
return { now, 1, next_due or false, again, rows }
