-- needs: names gate
-- What gates there are, and those of tasks. `Gates` goes on in partitions.lua, room.lua and gates.lua.

local Gates = {}

-- --- what there is ---

local gated

-- Whether some gate is there, or was: most scripts of most stores find nothing here, and need not look further.
function Gates.is(word)
  if not gated then
    gated = {}
    for _, each in ipairs(call('SMEMBERS', Names.gated)) do gated[each] = true end
  end
  return gated[word]
end

function Gates.note(word)
  if not Gates.is(word) then
    call('SADD', Names.gated, word)
    gated[word] = true
  end
end

function Gates.parted(queue) return Gates.is('partitions ' .. queue) end

-- The tasks that have a gate.
function Gates.tasks()
  local tasks = {}
  Gates.is('')
  for word in pairs(gated) do
    if string.sub(word, 1, 5) == 'task ' then tasks[#tasks + 1] = string.sub(word, 6) end
  end
  return tasks
end

-- The name of the lane of a task's jobs: its gate, or ''.
function Gates.of(task) return Gates.is('task ' .. task) and task or '' end

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
    gate = Gate.new(slots, set[2], set[3], set[4], now)
    gate.entering = set[5] and true
    at_task[task] = gate
  end
  return gate
end

-- What has been taken at gates of tasks is written down.
function Gates.keep_tasks()
  for task, gate in pairs(at_task) do
    local kept = Gate.kept(gate)
    if kept then call('HSET', Names.task(task), 'spent', kept) end
  end
end

-- --- partitions ---

-- How many run there. Jobs without a partition are those in no other.
function Gates.running_in(queue, partition)
  if partition ~= '' then return call('ZCARD', Names.running_in(queue, partition)) end
  return call('ZCARD', Names.listing('running', queue)) - call('ZCARD', Names.running_in(queue))
end
