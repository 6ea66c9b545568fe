-- needs: names index spent
-- Gates: what a queue, a partition of it and a task let through.
--
-- Slots in use are counted from sorted sets of running jobs, so nothing drifts. Partitions that may have something to claim
-- stand in `turns`; those that have not, in `resting`, and cost nothing until something happens to them: whoever moves a
-- job says so (`touch`), and at the end of the script they are given their turn.

local Gates = {}
local NO_RATES = {}

-- --- what there is ---

local gated

-- Whether some gate is there, or was: most scripts of most stores find nothing here, and need not look further.
local function is_gated(word)
  if not gated then
    gated = {}
    for _, each in ipairs(call('SMEMBERS', Names.gated)) do gated[each] = true end
  end
  return gated[word]
end

function Gates.note(word)
  if not is_gated(word) then
    call('SADD', Names.gated, word)
    gated[word] = true
  end
end

function Gates.parted(queue) return is_gated('partitions ' .. queue) end

-- The tasks that have a gate.
function Gates.tasks()
  local tasks = {}
  is_gated('')
  for word in pairs(gated) do
    if string.sub(word, 1, 5) == 'task ' then tasks[#tasks + 1] = string.sub(word, 6) end
  end
  return tasks
end

-- The name of the lane of a task's jobs: its gate, or ''.
function Gates.of(task) return is_gated('task ' .. task) and task or '' end

-- --- one gate ---

local function rates_of(text)
  if not text or text == 'none' then return NO_RATES end
  return cjson.decode(text)
end
Gates.rates_of = rates_of

-- A gate at one time, less what has been taken of it since. `slots`: how many more may run; nil: any number.
local function gate_of(slots, rates, closed_until, spent, now)
  local until_ = tonumber(closed_until or 0)
  local gate = {
    slots = slots and math.max(0, slots), closed_until = until_ > now and until_ or nil, left = math.huge, now = now,
    kept_until = until_,
  }
  rates = rates_of(rates)
  if #rates > 0 then
    gate.spent = Spent.new(rates, spent, now)
    gate.left = Spent.left(gate.spent)
  end
  return gate
end
Gates.gate_of = gate_of

-- What a job of that cost counts here.
function Gates.price(gate, cost) return gate.spent and Spent.price(gate.spent, cost) or 0 end

function Gates.passes(gate, cost)
  if gate.slots == 0 or gate.closed_until then return false end
  return not gate.spent or Spent.price(gate.spent, cost) <= gate.left
end

-- When time lets such a job through; nil: not time alone.
function Gates.opens_at(gate, cost)
  if gate.entering then return gate.now end
  if gate.slots == 0 then return nil end
  return math.max(gate.closed_until or 0, gate.spent and Spent.opens_at(gate.spent, cost) or 0)
end

-- A job of that cost starts.
function Gates.take(gate, cost)
  if gate.slots then gate.slots = gate.slots - 1 end
  if gate.spent then
    local price = Spent.price(gate.spent, cost)
    gate.left = gate.left - price
    Spent.add(gate.spent, price)
    gate.changed = true
  end
end

-- What to keep of what has started; false: it is as it was.
function Gates.kept(gate)
  if not gate.changed then return false end
  gate.changed = false
  return Spent.to_text(gate.spent)
end

-- When its memory may be forgotten: what started last is out of sight then, and it is open again.
function Gates.counts_until(gate)
  local longest = 0
  for _, length in ipairs(gate.spent and gate.spent.lengths or {}) do longest = math.max(longest, length.per_ms) end
  return math.max(gate.kept_until, longest > 0 and gate.now + 2 * longest or 0)
end

-- --- gates of tasks ---

local at_task = {}
local ENTERED_AT_ONCE = 500

-- Some of the jobs that ran when a task got its gate are counted there from now on; whether that was all.
local function enter(task)
  local entering = call('ZPOPMIN', Names.entering(task), ENTERED_AT_ONCE)
  for number = 1, #entering, 2 do
    local job = call('HMGET', Names.job(entering[number]), 'state', 'task')
    if job[1] == 'running' and job[2] == task then
      call('ZADD', Names.running_at(task), entering[number + 1], entering[number])
    end
  end
  return #entering < 2 * ENTERED_AT_ONCE
end

-- The gate of a task that has one. Until all that runs has been counted it has no slots.
function Gates.at_task(task, now)
  local gate = at_task[task]
  if not gate then
    local set = call('HMGET', Names.task(task), 'concurrency', 'rates', 'closed_until', 'spent', 'entering')
    local slots = tonumber(set[1])
    if set[5] and enter(task) then
      call('HDEL', Names.task(task), 'entering')
      set[5] = false
    end
    slots = slots and (set[5] and 0 or slots - call('ZCARD', Names.running_at(task)))
    gate = gate_of(slots, set[2], set[3], set[4], now)
    gate.entering = set[5] and true
    at_task[task] = gate
  end
  return gate
end

-- What has been taken at gates of tasks is written down.
function Gates.keep_tasks()
  for task, gate in pairs(at_task) do
    local kept = Gates.kept(gate)
    if kept then call('HSET', Names.task(task), 'spent', kept) end
  end
end

-- --- where jobs are ---

-- Whether a job outside of any partition has no places because of its queue or its task.
function Gates.plain(queue, task) return not Gates.parted(queue) and Gates.of(task) == '' end

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

-- How many jobs wait in a partition.
local function waiting_in(queue, partition)
  local count = call('ZCARD', Names.order(queue, partition, ''))
  for _, task in ipairs(Gates.tasks()) do count = count + call('ZCARD', Names.order(queue, partition, task)) end
  if partition ~= '' then return count + call('ZCARD', Names.later(queue, partition)) end
  return count + call('ZCARD', Names.due(queue)) - call('ZCARD', Names.later(queue))
end

-- How many run there. Jobs without a partition are those in no other.
function Gates.running_in(queue, partition)
  if partition ~= '' then return call('ZCARD', Names.running_in(queue, partition)) end
  return call('ZCARD', Names.listing('running', queue)) - call('ZCARD', Names.running_in(queue))
end

-- --- partitions come to their turns ---

local touched = {} -- by queue and name
local freed = {} -- tasks at whose gates a slot came free

function Gates.touch_place(queue, partition)
  local names = touched[queue]
  if not names then
    names = {}
    touched[queue] = names
  end
  names[partition] = true
end

-- A job has come to, or left, its partition.
function Gates.touch(job)
  if Gates.parted(job.queue) then Gates.touch_place(job.queue, job.partition) end
end

-- A slot may have come free.
function Gates.left(queue, task)
  if is_gated('slots ' .. queue) or Gates.parted(queue) then Index.hint('queue:' .. queue) end
  if Gates.of(task) ~= '' then freed[task] = true end
end

-- The queue has this partition from now on; the first one makes one of the jobs that are in none, too.
function Gates.part_queue(queue)
  if not Gates.parted(queue) then
    Gates.note('partitions ' .. queue)
    Gates.touch_place(queue, '')
  end
end

function Gates.part(job) if job.partition ~= '' then Gates.part_queue(job.queue) end end

local function idle_name(queue, partition) return queue .. '\0' .. partition end
Gates.whole_name = idle_name

-- The partition no longer waits at the gates of tasks.
function Gates.leave_lanes(queue, partition, waits)
  for task, cost in pairs(cjson.decode(waits)) do
    local lane = Names.lane(queue, task, cost)
    if call('ZREM', lane, partition) == 1 and call('EXISTS', lane) == 0 then
      call('ZREM', Names.lane_costs(queue, task), cost)
    end
  end
  call('HDEL', Names.partition(queue, partition), 'waits')
end

local function has_queued(queue, partition, tasks)
  local lanes = { Names.order(queue, partition, '') }
  for _, task in ipairs(tasks) do lanes[#lanes + 1] = Names.order(queue, partition, task) end
  return call('EXISTS', unpack(lanes)) > 0
end

-- Partitions get their turn, at their queue's virtual time or at their own if that is later. Where `asked`, only those
-- with queued jobs.
function Gates.activate(queue, names, asked)
  if #names == 0 then return end
  local reached = tonumber(call('HGET', Names.queue(queue), 'reached') or 0)
  local tasks = asked and Gates.tasks()
  local standing = call('ZMSCORE', Names.turns(queue), unpack(names))
  local added, removed = {}, {}
  for number, name in ipairs(names) do
    if not standing[number] then
      local key = Names.partition(queue, name)
      local known = call('HMGET', key, 'reached', 'paused_at', 'waits', 'counts_until')
      local queued = not asked or has_queued(queue, name, tasks)
      if known[3] then Gates.leave_lanes(queue, name, known[3]) end
      if not known[2] then
        removed[#removed + 1] = name
        if queued then
          added[#added + 1] = math.max(reached, tonumber(known[1] or 0))
          added[#added + 1] = name
          call('ZREM', Names.idle, idle_name(queue, name))
        elseif known[1] or known[4] then
          call('ZADD', Names.idle, known[4] or 0, idle_name(queue, name))
        end
      elseif queued then
        call('ZADD', Names.resting(queue), known[1] or 0, name)
      end
    end
  end
  in_pieces('ZREM', Names.resting(queue), removed)
  in_pieces('ZREM', Names.waking(queue), removed)
  in_pieces('ZREM', Names.opening(queue), removed)
  in_pieces('ZADD', Names.turns(queue), added)
end

-- The end of a script: partitions that were touched get their turn.
function Gates.finish()
  if next(touched) then Index.flush() end
  for queue, partitions in pairs(touched) do
    local names = {}
    for name in pairs(partitions) do names[#names + 1] = name end
    for from = 1, #names, 1000 do
      Gates.activate(queue, { unpack(names, from, math.min(from + 999, #names)) }, true)
    end
  end
  touched = {}
  for task in pairs(freed) do
    for _, queue in ipairs(call('ZRANGE', Names.queues_at(task), 0, -1)) do Index.hint('queue:' .. queue) end
  end
  freed = {}
end

-- A partition has no turn until it is activated.
function Gates.rest(queue, partition)
  local reached = call('ZSCORE', Names.turns(queue), partition)
  call('ZREM', Names.opening(queue), partition)
  if reached then
    call('ZREM', Names.turns(queue), partition)
    call('ZADD', Names.resting(queue), reached, partition)
  end
end

-- All partitions of a queue that wait for anything are looked at anew, some by each claim.
function Gates.wake_queue(queue)
  local resting, waking = Names.resting(queue), Names.waking(queue)
  if call('EXISTS', waking) == 1 then
    call('ZUNIONSTORE', waking, 2, waking, resting, 'AGGREGATE', 'MAX')
    call('DEL', resting)
  elseif call('EXISTS', resting) == 1 then
    call('RENAME', resting, waking)
  end
  Gates.touch_place(queue, '')
end

-- --- a claim looks ---

-- What a claim has to know of a queue: paused?, concurrency (or nil), whether it is served by turns.
function Gates.look(queue, now)
  local set = call('HMGET', Names.queue(queue), 'paused_at', 'concurrency', 'rates', 'closed_until', 'sequence')
  local until_ = tonumber(set[4] or 0)
  local rated = set[3] and set[3] ~= 'none' and set[3] ~= '[]'
  is_gated('')
  return {
    paused = set[1] and true, concurrency = tonumber(set[2]), sequence = set[5] or nil,
    by_turns = rated or until_ > now or set[5] or Gates.parted(queue) or #Gates.tasks() > 0,
  }
end

-- --- room ---

local rooms = {} -- by queue: limits, and how many wait there, of this request too
local partings = {}

local function room_of(queue)
  local room = rooms[queue]
  if not room then
    local set = call('HMGET', Names.queue(queue), 'max_queued', 'each.max_queued')
    room = { limit = tonumber(set[1]), each = tonumber(set[2]), places = {} }
    room.waiting = room.limit
      and call('ZCARD', Names.listing('queued', queue)) + call('ZCARD', Names.listing('scheduled', queue))
    rooms[queue] = room
  end
  return room
end

local function place_of(room, queue, partition)
  local place = room.places[partition]
  if not place then
    local own = call('HGET', Names.partition(queue, partition), 'max_queued')
    local limit = room.each
    if own then limit = tonumber(own) end
    place = { limit = limit, waiting = limit and waiting_in(queue, partition) }
    room.places[partition] = place
  end
  return place
end

local function is_partition(queue, partition)
  return partition ~= '' or partings[queue] or Gates.parted(queue)
end

-- Why there is no room for one more waiting job: queue, partition or false, limit; nil: there is.
function Gates.full(new)
  if not is_gated('room ' .. new.queue) then return nil end
  local queue, partition = new.queue, new.partition or ''
  local room = room_of(queue)
  if room.limit and room.waiting >= room.limit then return { queue, false, room.limit } end
  if is_partition(queue, partition) then
    local place = place_of(room, queue, partition)
    if place.limit and place.waiting >= place.limit then return { queue, partition, place.limit } end
  end
  return nil
end

-- One more is there; it waits unless it is blocked.
function Gates.waits(new, blocked)
  local queue, partition = new.queue, new.partition or ''
  if not is_gated('room ' .. queue) then return end
  if partition ~= '' then partings[queue] = true end
  if blocked then return end
  local room = room_of(queue)
  if room.limit then room.waiting = room.waiting + 1 end
  local place = place_of(room, queue, partition)
  if place.limit then place.waiting = place.waiting + 1 end
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

-- For so long nothing starts through the narrowest gate of a job that has a rate; else through its partition's, or queue's.
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
    if call('ZSCORE', Names.opening(queue), partition) then call('ZADD', Names.opening(queue), 'GT', until_, partition) end
    local counts_until = tonumber(call('HGET', key, 'counts_until') or 0)
    if until_ > counts_until then call('HSET', key, 'counts_until', until_) end
  else
    close_until(Names.queue(queue), until_)
    call('SADD', Names.limited, queue)
  end
end

-- --- pruning ---

local IDLE_AGAIN_MS = 60000

-- Partitions of which nothing is left are forgotten: no settings, nothing that waits or runs, no start that counts, no
-- turn that they have had too early.
function Gates.prune(now, limit)
  for _, whole in ipairs(call('ZRANGEBYSCORE', Names.idle, '-inf', now, 'LIMIT', 0, limit)) do
    local queue, name = string.match(whole, '^(.-)%z(.*)$')
    local key = Names.partition(queue, name)
    local reached = tonumber(call('HGET', key, 'reached') or 0)
    if call('ZSCORE', Names.apart, whole) or call('ZSCORE', Names.turns(queue), name)
      or call('ZSCORE', Names.resting(queue), name) or call('ZSCORE', Names.waking(queue), name) then
      call('ZREM', Names.idle, whole)
    elseif Gates.running_in(queue, name) > 0 or reached > tonumber(call('HGET', Names.queue(queue), 'reached') or 0) then
      call('ZADD', Names.idle, now + IDLE_AGAIN_MS, whole)
    else
      call('ZREM', Names.idle, whole)
      call('DEL', key)
    end
  end
end
