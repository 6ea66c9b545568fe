-- needs: names stats
-- Takes phase, presence (id, name, queues, tasks, concurrency, running, quiet, memory or '', lease_ms), reports
-- (source, number, cells: at, queue, task, numbers), now. Gives {now, alive, command or nil, cancelled: id, lease, id,
-- lease ...}.

local request = cjson.decode(ARGV[1])
local now, presence, phase = clock(request.now), request.presence, request.phase
local id = presence.id
local key = Names.worker(id)
local REPORTS_KEPT_SECONDS = 7 * 86400

for _, report in ipairs(request.reports or {}) do
  local source, number, cells = unpack(report)
  if number > tonumber(call('GET', Names.reported(source)) or 0) then
    call('SET', Names.reported(source), number, 'EX', REPORTS_KEPT_SECONDS)
    for _, each in ipairs(cells) do
      local cell = Stats.cell(Stats.MINUTE, unpack(each, 1, 3))
      for name, count in pairs(each[4]) do call('HINCRBY', cell, name, count) end
    end
  end
end

if phase == 'leave' then
  local known = call('ZREM', Names.workers, id)
  call('DEL', key)
  return { now, known, false, {} }
end
if phase ~= 'join' and tonumber(call('ZSCORE', Names.workers, id) or 0) <= now then return { now, 0, false, {} } end
if phase ~= 'look' then
  local expires_at = now + presence.lease_ms
  if phase == 'join' then
    call('HSET', key, 'name', presence.name, 'queues', presence.queues, 'tasks', presence.tasks,
      'concurrency', presence.concurrency)
    call('HSETNX', key, 'started_at', now)
  end
  call('HSET', key, 'running', presence.running, 'quiet', presence.quiet and 1 or 0, 'memory', presence.memory,
    'beat_at', now, 'expires_at', expires_at)
  call('ZADD', Names.workers, expires_at, id)
end
local cancelled = {}
for _, job in ipairs(call('ZRANGE', Names.running_by(id), 0, -1)) do
  local asked = call('HMGET', Names.job(job), 'cancel_requested', 'lease')
  if asked[1] then
    cancelled[#cancelled + 1] = job
    cancelled[#cancelled + 1] = asked[2]
  end
end
return { now, 1, call('HGET', key, 'command'), cancelled }
