-- needs: names index jobs keys gates
-- A queue with more than slots to look at is served by turns (stride scheduling): always the partition with the
-- smallest virtual time, which then moves on by cost / weight. Within it the first job goes whose task's gate lets it
-- through. A queue without partitions is served as one, called "", of which nothing is kept.

local Turns = {}
local SHARE_UNIT = 1000000
local ASKED_AT_LEAST = 64 -- how many partitions that wait at a task's gate are asked at least when it is open
local REGATED_AT_ONCE = 1000 -- how many jobs one script looks at that may have been there before their task had a gate
local COSTS = 100 -- how many different costs of those that wait at a task's gate are told apart
local READ = 2 -- how many jobs of a lane are read first; then twice as many, and so on
local MAX_COST = 1000000

-- How far a start moves its partition's virtual time; halves go to the even neighbour, as everywhere.
local function share(cost, weight)
  local exact = cost * SHARE_UNIT / weight
  local whole = math.floor(exact)
  local rest = exact - whole
  if rest > 0.5 or (rest == 0.5 and whole % 2 == 1) then whole = whole + 1 end
  return math.max(1, whole)
end

local function before(one, other)
  if one.score ~= other.score then return one.score < other.score end
  return bytes_before(one.id, other.id)
end

-- --- lanes ---

local function lane_of(queue, partition, gate)
  return { gate = gate, key = Names.order(queue, partition, gate), heads = {}, at = 1, read = 0, step = READ }
end

-- The next job of a lane: id, score, task, cost; nil: there is none.
local function head(lane)
  local job = lane.heads[lane.at]
  if not job then
    if lane.complete then return nil end
    local found = call('ZRANGE', lane.key, lane.read, lane.read + lane.step - 1, 'WITHSCORES')
    for number = 1, #found, 2 do
      lane.heads[#lane.heads + 1] = { id = found[number], score = tonumber(found[number + 1]) }
    end
    lane.complete = #found < 2 * lane.step
    lane.read, lane.step = lane.read + lane.step, math.min(2 * lane.step, 500)
    job = lane.heads[lane.at]
    if not job then return nil end
  end
  if not job.cost then
    local of = call('HMGET', Names.job(job.id), 'task', 'cost')
    job.task, job.cost = of[1] or '', tonumber(of[2] or 1)
  end
  return job
end

local function exhausted(turn)
  for _, lane in ipairs(turn.lanes) do
    if not lane.complete or lane.heads[lane.at] then return false end
  end
  return true
end

-- Jobs that were there before their task had a gate change to its lane.
local function regate(serving, turn)
  Index.flush()
  local plain = Names.order(serving.queue, turn.name, '')
  local found = call('ZRANGE', plain, 0, REGATED_AT_ONCE - 1, 'WITHSCORES')
  for number = 1, #found, 2 do
    local id, score = found[number], found[number + 1]
    local of = call('HMGET', Names.job(id), 'task', 'run_at')
    if of[1] and Gates.of(of[1]) ~= '' then
      call('ZREM', plain, id)
      call('ZADD', Names.order(serving.queue, turn.name, of[1]), score, id)
      call('ZADD', Names.by_time(serving.queue), of[2], id)
      call('ZADD', Names.queues_at(of[1]), 0, serving.queue)
    end
  end
  serving.regated = serving.regated + #found / 2
end

local function read_lanes(serving, turn)
  turn.lanes = {}
  if turn.held then
    local of = call('HMGET', Names.job(turn.held), 'state', 'queue', 'partition', 'task', 'cost')
    if of[1] == 'queued' and of[2] == serving.queue and (of[3] or '') == turn.name then
      local lane = lane_of(serving.queue, turn.name, Gates.of(of[4]))
      lane.heads[1] = { id = turn.held, score = 0, task = of[4], cost = tonumber(of[5] or 1) }
      lane.complete = true
      turn.lanes[1] = lane
    end
    return
  end
  turn.lanes[1] = lane_of(serving.queue, turn.name, '')
  for _, task in ipairs(serving.tasks) do turn.lanes[#turn.lanes + 1] = lane_of(serving.queue, turn.name, task) end
end

-- The lane of the first job that its task's gate lets through; at which gates others wait, with the first one's cost.
local function next_lane(serving, turn)
  local first, first_job
  turn.waits = {}
  for _, lane in ipairs(turn.lanes) do
    local job = head(lane)
    if job and lane.gate == '' and not turn.held and Gates.of(job.task) ~= '' then return nil, true end
    if job then
      if lane.gate ~= '' and not Gate.passes(Gates.at_task(lane.gate, serving.now), job.cost) then
        turn.waits[lane.gate] = job.cost
      elseif not first or before(job, first_job) then
        first, first_job = lane, job
      end
    end
  end
  return first
end

-- --- turns ---

local function tasks_in(queue)
  local here = {}
  for _, task in ipairs(Gates.tasks()) do
    if call('ZSCORE', Names.queues_at(task), queue) then here[#here + 1] = task end
  end
  return here
end

local function begin(queue, look, limit, now)
  local set = call('HMGET', Names.queue(queue), 'rates', 'closed_until', 'spent', 'each.concurrency', 'each.rates',
    'each.weight')
  return {
    queue = queue, limit = limit, now = now, bound = 2 * limit + ASKED_AT_LEAST, sequence = look.sequence,
    parted = Gates.parted(queue), gate = Gate.new(nil, set[1], set[2], set[3], now), tasks = tasks_in(queue),
    each = { concurrency = set[4], rates = set[5], weight = set[6] },
    turns = {}, taken = 0, looked_at = 0, regated = 0, woken = 0,
  }
end

local function turn_of(serving, name, reached)
  local turn = { name = name, reached = reached, weight = 1 }
  if serving.parted then
    local set = call('HMGET', Names.partition(serving.queue, name), 'paused_at', 'closed_until', 'spent', 'concurrency',
      'rates', 'weight')
    local each = serving.each
    local slots = tonumber(set[4] or each.concurrency)
    slots = slots and slots - Gates.running_in(serving.queue, name)
    turn.paused = set[1]
    turn.gate = Gate.new(slots, set[5] or each.rates, set[2], set[3], serving.now)
    turn.weight = tonumber(set[6] or each.weight) or 1
  else
    turn.gate = Gate.new(nil, nil, nil, nil, serving.now)
  end
  if turn.paused or turn.gate.slots == 0 then return turn end
  if serving.sequence then
    local held = Keys.holder(Keys.of_sequence(serving.queue, name), serving.now)
    turn.held = held and held.job
  end
  read_lanes(serving, turn)
  return turn
end

-- What is to be remembered of a partition.
local function keep(serving, turn)
  if not serving.parted or not turn.served then return end
  local kept, key = Gate.kept(turn.gate), Names.partition(serving.queue, turn.name)
  turn.counts_until = Gate.counts_until(turn.gate)
  call('HSET', key, 'reached', turn.reached, 'counts_until', turn.counts_until)
  if kept then call('HSET', key, 'spent', kept) end
end

-- The partition has nothing to claim: until `open_at`, until the gate of a task opens, until something happens, or
-- (empty) until there is a job.
local function leave(serving, turn, open_at, empty)
  turn.left, turn.open_at = true, open_at
  if not serving.parted then return end
  local queue, name = serving.queue, turn.name
  call('ZREM', Names.turns(queue), name)
  keep(serving, turn)
  if empty then
    local counts_until = turn.counts_until or call('HGET', Names.partition(queue, name), 'counts_until')
    if counts_until then call('ZADD', Names.idle, counts_until, Gates.whole_name(queue, name)) end
    return
  end
  call('ZADD', Names.resting(queue), turn.reached, name)
  if open_at then call('ZADD', Names.opening(queue), open_at, name) end
  if turn.waits and next(turn.waits) and not open_at then
    for task, cost in pairs(turn.waits) do
      call('ZADD', Names.lane(queue, task, cost), turn.reached, name)
      call('ZADD', Names.lane_costs(queue, task), cost, cost)
    end
    call('HSET', Names.partition(queue, name), 'waits', cjson.encode(turn.waits))
  end
end

local function start(serving, turn, lane, job, give)
  lane.at = lane.at + 1
  Index.take(lane.key, job.id)
  Index.take(Names.order(serving.queue, turn.name, ''), job.id)
  local row = give(job.id)
  if not row then return end
  Gate.take(serving.gate, job.cost)
  Gate.take(turn.gate, job.cost)
  if lane.gate ~= '' then Gate.take(Gates.at_task(lane.gate, serving.now), job.cost) end
  serving.taken, serving.reached, turn.served = serving.taken + 1, turn.reached, true
  turn.reached = turn.reached + share(job.cost, turn.weight)
  if serving.sequence then
    local ends = serving.sequence == 'block' and 'resolved' or 'settled'
    local holder = { id = job.id, keys = call('HGET', Names.job(job.id), 'keys') }
    Keys.take(holder, Keys.of_sequence(serving.queue, turn.name), ends)
    turn.held, turn.waits = job.id, nil
    leave(serving, turn)
  elseif exhausted(turn) then
    leave(serving, turn, nil, true)
  elseif serving.parted then
    call('ZADD', Names.turns(serving.queue), turn.reached, turn.name)
  end
end

-- One job of the partition whose turn it is; or it leaves.
local function serve_turn(serving, turn, give)
  if turn.paused or turn.gate.slots == 0 then
    turn.waits = nil
    return leave(serving, turn)
  end
  local lane, regating = next_lane(serving, turn)
  if regating then
    if serving.regated >= REGATED_AT_ONCE then
      serving.more, serving.stopped = true, true
      return
    end
    regate(serving, turn)
    serving.tasks = tasks_in(serving.queue)
    for _, each in pairs(serving.turns) do
      if each.lanes then read_lanes(serving, each) end
    end
    return
  end
  if not lane then return leave(serving, turn, nil, not next(turn.waits) and not turn.held) end
  local job = lane.heads[lane.at]
  if not Gate.passes(turn.gate, job.cost) then return leave(serving, turn, Gate.opens_at(turn.gate, job.cost)) end
  if not Gate.passes(serving.gate, job.cost) then
    serving.stopped, serving.opens_at = true, Gate.opens_at(serving.gate, job.cost)
    return
  end
  start(serving, turn, lane, job, give)
end

-- --- who may have something to claim ---

-- Partitions whose turn at an open task's gate comes first.
local function wake_lane(serving, task)
  local gate = Gates.at_task(task, serving.now)
  local room = math.min(serving.limit, gate.slots or math.huge, gate.left)
  local limit = math.min(math.max(ASKED_AT_LEAST, room), serving.bound - serving.woken)
  if limit <= 0 then
    serving.more = true
    return
  end
  local waiting = {}
  for _, cost in ipairs(call('ZRANGE', Names.lane_costs(serving.queue, task), 0, COSTS - 1)) do
    if not Gate.passes(gate, tonumber(cost)) then break end
    local found = call('ZRANGE', Names.lane(serving.queue, task, cost), 0, limit - 1, 'WITHSCORES')
    for number = 1, #found, 2 do waiting[#waiting + 1] = { id = found[number], score = tonumber(found[number + 1]) } end
  end
  table.sort(waiting, before)
  local names = {}
  for number = 1, math.min(limit, #waiting) do names[number] = waiting[number].id end
  Gates.activate(serving.queue, names)
  serving.woken = serving.woken + #names
  if #names == limit then serving.more = true end
end

local function wake(serving)
  local queue, bound = serving.queue, serving.bound
  local due = call('ZRANGEBYSCORE', Names.opening(queue), '-inf', serving.now, 'LIMIT', 0, bound)
  Gates.activate(queue, due)
  local waking, names = call('ZPOPMIN', Names.waking(queue), bound), {}
  for number = 1, #waking, 2 do names[#names + 1] = waking[number] end
  Gates.activate(queue, names)
  if #due == bound or #names == bound then serving.more = true end
  for _, task in ipairs(serving.tasks) do wake_lane(serving, task) end
end

-- --- a claim ---

-- Give up to `limit` jobs of a queue, one after the other, by `give(id)`.
function Turns.serve(queue, look, limit, now, give)
  Index.flush()
  local serving = begin(queue, look, limit, now)
  look.serving = serving
  if serving.parted then
    wake(serving)
  else
    serving.turns[''] = turn_of(serving, '', 0)
  end
  while serving.taken < limit and not serving.stopped do
    local turn
    if serving.parted then
      local front = call('ZRANGE', Names.turns(queue), 0, 0, 'WITHSCORES')
      if not front[1] then break end
      turn = serving.turns[front[1]]
      if not turn then
        if serving.looked_at >= serving.bound then
          serving.more = true
          break
        end
        turn = turn_of(serving, front[1], tonumber(front[2]))
        serving.turns[front[1]], serving.looked_at = turn, serving.looked_at + 1
      end
    else
      turn = serving.turns['']
      if turn.left then break end
    end
    serve_turn(serving, turn, give)
  end
  for _, turn in pairs(serving.turns) do
    if not turn.left then keep(serving, turn) end
  end
  local kept = Gate.kept(serving.gate)
  if kept then call('HSET', Names.queue(queue), 'spent', kept) end
  if serving.parted and serving.reached then call('HSET', Names.queue(queue), 'reached', serving.reached) end
  Gates.keep_tasks()
end

-- When time gives the queue something more to claim; nil: not time alone.
function Turns.opens_at(queue, look)
  local serving = look.serving
  if not serving or serving.taken >= serving.limit then return nil end
  if serving.more and not serving.opens_at then return serving.now end
  local opens_at = serving.stopped and serving.opens_at or nil
  local queue_opens_at = Gate.opens_at(serving.gate, 1) or 0
  local function at(time)
    if time then
      time = math.max(time, queue_opens_at)
      if not opens_at or time < opens_at then opens_at = time end
    end
  end
  if serving.parted then
    local first = call('ZRANGE', Names.opening(queue), 0, 0, 'WITHSCORES')
    at(tonumber(first[2]))
    for _, task in ipairs(serving.tasks) do
      local cost = call('ZRANGE', Names.lane_costs(queue, task), 0, 0)[1]
      if cost then at(Gate.opens_at(Gates.at_task(task, serving.now), tonumber(cost))) end
    end
  else
    local turn = serving.turns['']
    at(turn.open_at)
    for task, cost in pairs(turn.waits or {}) do at(Gate.opens_at(Gates.at_task(task, serving.now), cost)) end
  end
  return opens_at
end
