-- needs: names index gated
-- Partitions come to their turns. Those that may have something to claim stand in `turns`; those that have not, in
-- `resting`, and cost nothing until something happens to them: whoever moves a job says so (`touch`), and at the end of
-- the script they are given their turn.

local ACTIVATED_AT_ONCE = 1000

local touched = {} -- by queue and name

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

-- The queue has this partition from now on; the first one makes one of the jobs that are in none, too.
function Gates.part_queue(queue)
  if not Gates.parted(queue) then
    Gates.note('partitions ' .. queue)
    Gates.touch_place(queue, '')
  end
end

function Gates.part(job) if job.partition ~= '' then Gates.part_queue(job.queue) end end

-- A partition as a member of a set that is about all queues; they sort by queue, then name.
function Gates.whole_name(queue, partition) return queue .. '\0' .. partition end

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
local function activate(queue, names, asked)
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
          call('ZREM', Names.idle, Gates.whole_name(queue, name))
        elseif known[1] or known[4] then
          call('ZADD', Names.idle, known[4] or 0, Gates.whole_name(queue, name))
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
  if asked and #added > 0 then Index.hint('queue:' .. queue) end
end

function Gates.activate(queue, names, asked)
  for from = 1, #names, ACTIVATED_AT_ONCE do
    activate(queue, { unpack(names, from, math.min(from + ACTIVATED_AT_ONCE - 1, #names)) }, asked)
  end
end

-- Partitions that were touched get their turn.
function Gates.activate_touched()
  if next(touched) then Index.flush() end
  for queue, partitions in pairs(touched) do
    local names = {}
    for name in pairs(partitions) do names[#names + 1] = name end
    Gates.activate(queue, names, true)
  end
  touched = {}
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

-- --- pruning ---

local RUNNING_MS = 60000 -- when one in which something runs is looked at again
local OWING_MS = 86400000 -- how long one stays that owes others a turn: then nobody waits for it any more

-- Partitions of which nothing is left are forgotten: no settings, nothing that waits or runs, no start that counts, no
-- turn that they have had too early.
function Gates.prune(now, limit)
  for _, whole in ipairs(call('ZRANGEBYSCORE', Names.idle, '-inf', now, 'LIMIT', 0, limit)) do
    local queue, name = string.match(whole, '^(.-)%z(.*)$')
    local key = Names.partition(queue, name)
    local known = call('HMGET', key, 'reached', 'owing')
    local reached = tonumber(known[1] or 0)
    local owing = reached > tonumber(call('HGET', Names.queue(queue), 'reached') or 0) and known[2] ~= known[1]
    if call('ZSCORE', Names.apart, whole) or call('ZSCORE', Names.turns(queue), name)
      or call('ZSCORE', Names.resting(queue), name) or call('ZSCORE', Names.waking(queue), name) then
      call('ZREM', Names.idle, whole)
    elseif Gates.running_in(queue, name) > 0 then
      call('ZADD', Names.idle, now + RUNNING_MS, whole)
    elseif owing then
      call('HSET', key, 'owing', known[1])
      call('ZADD', Names.idle, now + OWING_MS, whole)
    else
      call('ZREM', Names.idle, whole)
      call('DEL', key)
    end
  end
end
