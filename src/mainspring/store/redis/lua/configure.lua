-- needs: names index jobs keys gates turns settings audit
-- Takes changes, read (names), limit, partition ([queue, name]) or null, audit (an entry) or null, before ([time, id])
-- or null, now. Gives {now, changed, queues, schedules, workers, tasks, partitions, next_tick or nil, audit}; limits
-- are texts, as they were said, or nil.

local request = cjson.decode(ARGV[1])
local now, changed = clock(request.now), 0
for _, change in ipairs(request.changes) do
  if Settings[change.change](change, now) then changed = changed + 1 end
end
if request.audit then
  Audit.write(request.audit, request.changes[1] and changed or request.audit.count, now)
end
Gates.finish()
Index.finish()

-- When time lets a job of cost 1 through; nil: at once, as far as time goes.
local function opens_at(rates, closed_until, spent)
  local at = Gate.opens_at(Gate.new(nil, rates, closed_until, spent, now), 1)
  return at > now and at
end

local Read = {}

function Read.queues()
  local rows = {}
  for _, name in ipairs(call('SUNION', Names.limited, Names.queues)) do
    local set = call('HMGET', Names.queue(name), 'paused_at', 'concurrency', 'rates', 'max_queued', 'each.concurrency',
      'each.rates', 'each.max_queued', 'each.weight', 'sequence', 'closed_until', 'spent')
    rows[#rows + 1] = {
      name, set[1], set[2], set[3], set[4], { set[5], set[6], set[7], set[8] }, set[9],
      opens_at(set[3], set[10], set[11]),
    }
  end
  return rows
end

function Read.tasks()
  local rows = {}
  for _, name in ipairs(Gates.tasks()) do
    local set = call('HMGET', Names.task(name), 'concurrency', 'rates', 'closed_until', 'spent')
    rows[#rows + 1] = { name, set[1], set[2], opens_at(set[2], set[3], set[4]) }
  end
  return rows
end

-- Jobs outside of any partition are in one, called "", only where their queue has others.
local function partition(queue, name)
  local parted = name ~= '' or Gates.parted(queue)
  local each = {}
  if parted then
    each = call('HMGET', Names.queue(queue), 'each.concurrency', 'each.rates', 'each.max_queued', 'each.weight')
  end
  local set = call('HMGET', Names.partition(queue, name), 'concurrency', 'rates', 'max_queued', 'weight', 'paused_at',
    'closed_until', 'spent')
  local limits = {}
  for number = 1, 4 do limits[number] = set[number] or each[number] or false end
  local held = Keys.holder(Keys.of_sequence(queue, name), now)
  return { queue, name, set[5], limits, opens_at(limits[2], set[6], set[7]), held and held.job or false }
end

function Read.partitions()
  local rows, asked = {}, request.partition
  for _, whole in ipairs(call('ZRANGE', Names.apart, 0, request.limit - 1)) do
    local queue, name = string.match(whole, '^(.-)%z(.*)$')
    rows[#rows + 1] = partition(queue, name)
    if asked and asked[1] == queue and asked[2] == name then asked = nil end
  end
  if asked then rows[#rows + 1] = partition(asked[1], asked[2]) end
  return rows
end

local function schedules(names)
  local rows = {}
  for _, name in ipairs(names) do
    local row = call('HMGET', Names.schedule(name), 'task', 'queue', 'args', 'priority', 'options', 'timing', 'next_at',
      'last_at', 'paused_at', 'keys', 'partition', 'cost')
    table.insert(row, 1, name)
    rows[#rows + 1] = row
  end
  return rows
end

function Read.schedules() return schedules(call('ZRANGE', Names.schedules, 0, -1)) end

function Read.due()
  return schedules(call('ZRANGEBYSCORE', Names.ticks, '-inf', now, 'LIMIT', 0, request.limit))
end

function Read.audit() return Audit.page(request.limit, request.before) end

function Read.workers()
  local rows = {}
  for _, id in ipairs(call('ZRANGE', Names.workers, 0, -1)) do
    local row = call('HMGET', Names.worker(id), 'name', 'queues', 'tasks', 'concurrency', 'running', 'quiet',
      'started_at', 'beat_at', 'expires_at', 'command', 'memory')
    table.insert(row, 1, id)
    rows[#rows + 1] = row
  end
  return rows
end

local wanted = {}
for _, name in ipairs(request.read) do wanted[name] = true end
local function read(name) return wanted[name] and Read[name]() or {} end
local next_tick = call('ZRANGE', Names.ticks, 0, 0, 'WITHSCORES')
return {
  now, changed, read('queues'), wanted.due and Read.due() or read('schedules'), read('workers'), read('tasks'),
  read('partitions'), tonumber(next_tick[2]) or false,
  read('audit'),
}
