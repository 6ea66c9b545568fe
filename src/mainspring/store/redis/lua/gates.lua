-- needs: names index gated partitions room
-- Gates: what a queue, a partition of it and a task let through. Slots in use are counted from sorted sets of running
-- jobs, so nothing drifts.

local freed = {} -- tasks at whose gates a slot came free

-- Write the places that a job has because of its partition and its task's gate.
function Gates.places(job, write, at)
  local queue, partition = job.queue, job.partition
  if job.state == 'running' then
    if partition ~= '' then
      write(Names.running_in(queue, partition), job.id, at)
      write(Names.running_in(queue), job.id, at)
    end
    if Gates.of(job.task) ~= '' then write(Names.running_at(job.task), job.id, at) end
  elseif job.state == 'scheduled' then
    if partition ~= '' then
      write(Names.later(queue, partition), job.id, job.run_at)
      write(Names.later(queue), job.id, job.run_at)
    end
  elseif job.state == 'queued' and job.gate ~= '' then
    -- It may be where it was before its task had a gate.
    Index.take(Names.order(queue, partition, ''), job.id)
    Index.put(Names.queues_at(job.task), queue, 0)
  end
end

-- A slot may have come free.
function Gates.left(queue, task)
  if Gates.is('slots ' .. queue) or Gates.parted(queue) then Index.hint('queue:' .. queue) end
  if Gates.of(task) ~= '' then freed[task] = true end
end

-- The end of a script: partitions that were touched get their turn, and who may go on hears of it.
function Gates.finish()
  Gates.activate_touched()
  for task in pairs(freed) do
    for _, queue in ipairs(call('ZRANGE', Names.queues_at(task), 0, -1)) do Index.hint('queue:' .. queue) end
  end
  freed = {}
end

-- What a claim has to know of a queue: paused?, concurrency (or nil), whether it is served by turns.
function Gates.look(queue, now)
  local set = call('HMGET', Names.queue(queue), 'paused_at', 'concurrency', 'rates', 'closed_until', 'sequence')
  local until_ = tonumber(set[4] or 0)
  local rated = set[3] and set[3] ~= 'none' and set[3] ~= '[]'
  return {
    paused = set[1] and true, concurrency = tonumber(set[2]), sequence = set[5] or nil,
    by_turns = rated or until_ > now or set[5] or Gates.parted(queue) or Gates.is('tasks'),
  }
end

-- --- closing ---

local function has_rates(own, each)
  local rates = own or each
  return rates and rates ~= 'none' and rates ~= '[]'
end

local function close_until(key, until_)
  local before = tonumber(call('HGET', key, 'closed_until') or 0)
  if until_ > before then call('HSET', key, 'closed_until', until_) end
end

-- For so long nothing starts through the narrowest gate of a job that has a rate; where none has one, through that of
-- its partition or queue.
function Gates.close(job, until_)
  local queue, partition = job.queue, job.partition
  local set = call('HMGET', Names.queue(queue), 'rates', 'each.rates')
  local key = Names.partition(queue, partition)
  local parted = partition ~= '' or Gates.parted(queue)
  local in_partition = parted and has_rates(call('HGET', key, 'rates'), set[2])
  local by_task = not in_partition and Gates.of(job.task) ~= ''
    and has_rates(call('HGET', Names.task(job.task), 'rates'))
  if by_task then
    close_until(Names.task(job.task), until_)
  elseif in_partition or (partition ~= '' and not has_rates(set[1])) then
    close_until(key, until_)
    call('ZADD', Names.opening(queue), 'XX', 'GT', until_, partition)
    local counts_until = tonumber(call('HGET', key, 'counts_until') or 0)
    if until_ > counts_until then call('HSET', key, 'counts_until', until_) end
  else
    close_until(Names.queue(queue), until_)
    call('SADD', Names.limited, queue)
  end
end
