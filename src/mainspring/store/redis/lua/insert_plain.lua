-- needs: names stats
-- Takes jobs (id, task, queue, args, priority) that have nothing but that, now. Gives, for each, 0 (it is there from
-- now on) or 1 (it was there); nil, with nothing stored, where somebody has said more about their queues or tasks than
-- this looks at. Most of what is enqueued goes this way, one by one or many at once.

local ORDER = 2 ^ 43

local request = cjson.decode(ARGV[1])
local now = clock(request.now)

local queues = {}
for _, new in ipairs(request.jobs) do
  local queue = queues[new.queue]
  if not queue then
    local words = { 'tasks', 'partitions ' .. new.queue, 'room ' .. new.queue }
    for _, gated in ipairs(call('SMISMEMBER', Names.gated, unpack(words))) do
      if gated == 1 then return nil end
    end
    queue = { listing = {}, order = {}, tasks = {} }
    queues[new.queue] = queue
  end
end

local replies = {}
for number, new in ipairs(request.jobs) do
  local key = Names.job(new.id)
  if call('HSETNX', key, 'state', 'queued') == 0 then
    replies[number] = 1
  else
    replies[number] = 0
    local queue, priority = queues[new.queue], new.priority or 5
    local fields = { 'task', new.task, 'queue', new.queue, 'created_at', now, 'run_at', now }
    if new.args then
      fields[9], fields[10] = 'args', new.args
    end
    if new.priority then
      fields[#fields + 1] = 'priority'
      fields[#fields + 1] = priority
    end
    call('HSET', key, unpack(fields))
    queue.tasks[new.task] = (queue.tasks[new.task] or 0) + 1
    local listing, order = queue.listing, queue.order
    listing[#listing + 1], order[#order + 1] = now, priority * ORDER + now
    listing[#listing + 1], order[#order + 1] = new.id, new.id
  end
end
for name, queue in pairs(queues) do
  call('SADD', Names.queues, name)
  for task, count in pairs(queue.tasks) do Stats.count('enqueued', name, task, now, count) end
  in_pieces('ZADD', Names.listing('queued', name), queue.listing)
  in_pieces('ZADD', Names.order(name, '', ''), queue.order)
  call('PUBLISH', ns .. 'hint:queue:' .. name, '')
end
return replies
