-- needs: names index gates
-- What code and operators say about gates. Each word has a field of its own (`defined.rates`: the code's,
-- `limited.rates`: an operator's, who may also say "none"), and beside them stands what is in force (`rates`). A queue
-- has the same once more, with `each.` before it: what holds for every partition that has no word of its own. Then come
-- schedules, and commands for workers. Every function takes a change and says whether what it names was there.

local Settings = {}
local SETTINGS = { 'concurrency', 'rates', 'max_queued', 'weight' }

local function field(prefix, who, setting) return prefix .. who .. '.' .. setting end

-- What is in force follows from the words; whether it changed.
local function enforce(key, prefix)
  local changed = false
  for _, setting in ipairs(SETTINGS) do
    local said = call('HMGET', key, field(prefix, 'limited', setting), field(prefix, 'defined', setting))
    local word = said[1] or said[2]
    if word ~= call('HGET', key, prefix .. setting) then
      changed = true
      if word then call('HSET', key, prefix .. setting, word) else call('HDEL', key, prefix .. setting) end
    end
  end
  return changed
end

-- All that the code says.
local function define(key, prefix, words)
  for _, setting in ipairs(SETTINGS) do
    local name = field(prefix, 'defined', setting)
    if words[setting] then call('HSET', key, name, words[setting]) else call('HDEL', key, name) end
  end
  return enforce(key, prefix)
end

-- What an operator says now; the rest stays as it was.
local function limit(key, prefix, words)
  for setting, word in pairs(words) do call('HSET', key, field(prefix, 'limited', setting), word) end
  return enforce(key, prefix)
end

local function note(queue, words)
  if words.concurrency then Gates.note('slots ' .. queue) end
  if words.max_queued then Gates.note('room ' .. queue) end
end

-- Something may be let through that was not.
local function opened(queue) Index.hint('queue:' .. queue) end

-- Whether the partition has settings of its own, and so is one to be listed.
local function set_apart(queue, partition)
  local whole = Gates.whole_name(queue, partition)
  local apart = false
  for _, name in ipairs(call('HKEYS', Names.partition(queue, partition))) do
    if name == 'paused_at' or string.find(name, '^defined%.') or string.find(name, '^limited%.') then apart = true end
  end
  if apart then
    call('ZADD', Names.apart, 0, whole)
  elseif call('ZREM', Names.apart, whole) == 1 then
    call('ZADD', Names.idle, call('HGET', Names.partition(queue, partition), 'counts_until') or 0, whole)
  end
end

local function change_partition(queue, partition, change, words)
  Gates.part_queue(queue)
  note(queue, words)
  local changed = change(Names.partition(queue, partition), '', words)
  set_apart(queue, partition)
  if changed then Gates.touch_place(queue, partition) end
  return changed
end

local function defined_partitions(queue)
  local names = {}
  local first = '[' .. queue .. '\0'
  for _, whole in ipairs(call('ZRANGEBYLEX', Names.apart, first, '(' .. queue .. '\1')) do
    names[#names + 1] = string.sub(whole, #first)
  end
  return names
end

-- Every worker says this when it starts: partitions are woken only if it is something new.
function Settings.define_queue(change)
  local queue, key = change.name, Names.queue(change.name)
  call('SADD', Names.limited, queue)
  note(queue, change.own)
  note(queue, change.each)
  define(key, '', change.own)
  local changed = define(key, 'each.', change.each)
  local sequence = call('HGET', key, 'sequence')
  if (change.sequence or false) ~= sequence then
    changed = true
    if change.sequence then call('HSET', key, 'sequence', change.sequence) else call('HDEL', key, 'sequence') end
    if change.sequence then Gates.note('slots ' .. queue) end
  end
  local named = {}
  for _, each in ipairs(change.partitions) do
    named[each[1]] = true
    changed = change_partition(queue, each[1], define, each[2]) or changed
  end
  for _, partition in ipairs(defined_partitions(queue)) do
    if not named[partition] then changed = change_partition(queue, partition, define, {}) or changed end
  end
  if changed then Gates.wake_queue(queue) end
  opened(queue)
  return true
end

function Settings.limit_queue(change)
  call('SADD', Names.limited, change.name)
  note(change.name, change.own)
  limit(Names.queue(change.name), '', change.own)
  opened(change.name)
  return true
end

function Settings.limit_each(change)
  call('SADD', Names.limited, change.name)
  note(change.name, change.own)
  if limit(Names.queue(change.name), 'each.', change.own) then Gates.wake_queue(change.name) end
  opened(change.name)
  return true
end

function Settings.limit_partition(change)
  change_partition(change.name, change.partition, limit, change.own)
  opened(change.name)
  return true
end

local function pause(key, paused, now)
  if paused then call('HSETNX', key, 'paused_at', now) else call('HDEL', key, 'paused_at') end
end

function Settings.pause_queue(change, now)
  call('SADD', Names.limited, change.name)
  pause(Names.queue(change.name), change.paused, now)
  if not change.paused then opened(change.name) end
  return true
end

function Settings.pause_partition(change, now)
  local queue, partition = change.name, change.partition
  Gates.part_queue(queue)
  pause(Names.partition(queue, partition), change.paused, now)
  set_apart(queue, partition)
  if change.paused then
    Gates.rest(queue, partition)
  else
    Gates.touch_place(queue, partition)
    opened(queue)
  end
  return true
end

-- --- tasks ---

-- A task has its gate: what runs already is counted there, too.
local function gate(task)
  if Gates.of(task) ~= '' then return end
  Gates.note('task ' .. task)
  Gates.note('tasks')
  local running = {}
  for _, owner in ipairs(call('ZRANGE', Names.owners, 0, -1)) do
    local key = Names.running_by(owner)
    if call('EXISTS', key) == 1 then running[#running + 1] = key end
  end
  for from = 1, #running, 1000 do
    local some = { unpack(running, from, math.min(from + 999, #running)) }
    some[#some + 1] = Names.entering(task)
    call('ZUNIONSTORE', Names.entering(task), #some, unpack(some))
  end
  if #running > 0 then call('HSET', Names.task(task), 'entering', 1) end
end

local function all_opened()
  for _, queue in ipairs(call('SMEMBERS', Names.queues)) do opened(queue) end
end

-- What the code says; a task without any limit has no gate until somebody says so.
function Settings.define_task(change)
  if not next(change.own) and Gates.of(change.name) == '' then return true end
  gate(change.name)
  define(Names.task(change.name), '', change.own)
  all_opened()
  return true
end

function Settings.limit_task(change)
  gate(change.name)
  limit(Names.task(change.name), '', change.own)
  all_opened()
  return true
end

-- --- schedules and workers ---

local function stand(name, next_at, paused)
  if paused then call('ZREM', Names.ticks, name) else call('ZADD', Names.ticks, next_at, name) end
end

function Settings.put_schedule(change)
  local key = Names.schedule(change.name)
  local known = call('HMGET', key, 'timing', 'next_at', 'paused_at')
  local next_at = known[1] == change.fields.timing and known[2] or change.fields.next_at
  call('HDEL', key, 'options')
  for name, value in pairs(change.fields) do call('HSET', key, name, value) end
  call('HSET', key, 'next_at', next_at)
  call('ZADD', Names.schedules, 0, change.name)
  stand(change.name, next_at, known[3])
  return true
end

function Settings.pause_schedule(change, now)
  local key = Names.schedule(change.name)
  local known = call('HMGET', key, 'name', 'next_at', 'paused_at')
  if not known[2] then return false end
  local next_at = known[3] and not change.paused and change.next_at or known[2]
  pause(key, change.paused, now)
  call('HSET', key, 'next_at', next_at)
  stand(change.name, next_at, change.paused)
  return true
end

function Settings.remove_schedule(change)
  if call('DEL', Names.schedule(change.name)) == 0 then return false end
  call('ZREM', Names.schedules, change.name)
  call('ZREM', Names.ticks, change.name)
  return true
end

function Settings.command_worker(change)
  if call('EXISTS', Names.worker(change.id)) == 0 then return false end
  call('HSET', Names.worker(change.id), 'command', change.command)
  return true
end

