-- Where everything is kept: one function for each kind of key, every one with the hash tag of the namespace, so that a
-- namespace lives in one slot of a cluster. docs/redis.md lists them for people.

local call = redis.call
local ns = KEYS[1] .. ':'

-- Names may contain the colon that separates them.
local function part(name)
  if string.find(name, '[:%%]') then
    return (string.gsub(string.gsub(name, '%%', '%%25'), ':', '%%3A'))
  end
  return name
end

local Names = {
  schedules = ns .. 'schedules', -- zset of names: 0; all of them
  ticks = ns .. 'ticks', -- zset of names: when a schedule that is not paused ticks next
  workers = ns .. 'workers', -- zset of ids: when a worker's lease runs out
  queues = ns .. 'queues', -- set of names: queues that have, or had, jobs
  limited = ns .. 'limited', -- set of names: queues of which somebody has said something
  -- set: `task NAME`, `tasks` (any), `partitions QUEUE`, `slots QUEUE`, `room QUEUE` that there are, or were
  gated = ns .. 'gated',
  apart = ns .. 'apart', -- zset of partitions, as QUEUE NUL NAME: 0; those with settings of their own
  idle = ns .. 'idle', -- zset of partitions, as QUEUE NUL NAME: when an empty one may be forgotten
  flows = ns .. 'flows', -- zset of ids: when a flow came
  -- zset of flow ids: 0; those that are new, or of which something has gone since they were looked at
  thinned = ns .. 'thinned',
  -- zset of a word and an id, as 'tell ' and a parent's: what is left for the next scripts
  unfinished = ns .. 'unfinished',
  owners = ns .. 'owners', -- zset of worker ids: 0; those in whose name jobs run, or did
  audit = ns .. 'audit', -- zset of ids: when an entry of the audit log was written
  expiring = ns .. 'expiring', -- zset of key names: when they are given back by time
  stats_rolled = ns .. 'stats-rolled', -- number: how often cells of statistics were rolled up
}

function Names.audit_entry(id) return ns .. 'audit:' .. id end -- hash: actor, action, target, detail, count
function Names.job(id) return ns .. 'job:' .. id end
-- The jobs of one queue in one state, as a zset: live ones by creation, final ones by their end.
function Names.listing(state, queue) return ns .. state .. ':' .. queue end
-- The order in which a lane of a queue is served, as a zset: by priority, then time.
function Names.order(queue, partition, gate)
  if partition == '' and gate == '' then return ns .. 'order:' .. part(queue) end
  if gate == '' then return ns .. 'order:' .. part(queue) .. ':' .. part(partition) end
  return ns .. 'order:' .. part(queue) .. ':' .. part(partition) .. ':' .. part(gate)
end
-- Queued jobs that are in other lanes than a queue's plain one, as a zset: when they became due.
function Names.by_time(queue) return ns .. 'by-time:' .. queue end
-- Scheduled jobs of a queue, as a zset: when they are due.
function Names.due(queue) return ns .. 'due:' .. queue end
-- What runs in a worker's name, as a zset: by creation.
function Names.running_by(worker) return ns .. 'running-by:' .. worker end
function Names.flow(id) return ns .. 'flow:' .. part(id) end -- hash: name, parent, created_at, callbacks (JSON)
-- The jobs of one flow in one state, as a zset: live ones by creation, final ones by their end.
function Names.flow_listing(flow, state) return ns .. 'flow:' .. part(flow) .. ':' .. state end
function Names.parts(flow) return ns .. 'parts:' .. flow end -- set of flow ids: those that are a part of this one
function Names.parents(id) return ns .. 'parents:' .. id end -- hash: a child's parents, each with its edge
function Names.children(id) return ns .. 'children:' .. id end -- set of ids: those to whom a job has not ended yet
-- Those who know of a job's end, and may wait for it anew if it is revived, as a set of ids.
function Names.told(id) return ns .. 'told:' .. id end
-- Parents of FAIL edges that ended badly, as a zset: the edge's place.
function Names.bad(id) return ns .. 'bad-parents:' .. id end
function Names.dead(id) return ns .. 'dead-parents:' .. id end -- set of parents of DEAD edges that are dead
-- Of those the ones that were so before the child came back: they release it no more.
function Names.outlived(id) return ns .. 'outlived-parents:' .. id end
function Names.ended(id) return ns .. 'ended:' .. id end -- hash: how a job ended whose children are untold
function Names.reply(request) return ns .. 'reply:' .. request end -- text: what a request was told, for some seconds
function Names.log(id) return ns .. 'log:' .. id end -- zset of lines, by lease and number
function Names.output(id) return ns .. 'output:' .. id end -- zset of pieces of output, by lease and number
function Names.key(name) return ns .. 'key:' .. name end -- hash: job, until, expires_at
function Names.keys_of(id) return ns .. 'keys-of:' .. id end -- set: names of keys that a job holds, or has held
function Names.worker(id) return ns .. 'worker:' .. id end
function Names.schedule(name) return ns .. 'schedule:' .. name end
function Names.queue(name) return ns .. 'queue:' .. name end -- hash: settings, and what its gate remembers
function Names.task(name) return ns .. 'task:' .. name end -- hash: the same of a task's gate
-- Running jobs of a task that has a gate, as a zset: by creation.
function Names.running_at(task) return ns .. 'running-at:' .. task end
-- Jobs that ran when their task got its gate, and are to be counted there.
function Names.entering(task) return ns .. 'entering:' .. task end
-- Queues in which jobs of a task with a gate were queued, as a zset: 0.
function Names.queues_at(task) return ns .. 'queues-at:' .. task end

-- A cell of statistics: hash of numbers, by name.
function Names.stats(step, at, queue, task)
  return ns .. 'stats:' .. step .. ':' .. at .. ':' .. part(queue) .. ':' .. part(task)
end
function Names.stats_at(step, at) return ns .. 'stats-at:' .. step .. ':' .. at end -- set of QUEUE NUL TASK: its cells
-- Stretches of that length of which there are cells, as a zset: when they begin.
function Names.stats_times(step) return ns .. 'stats-times:' .. step end
function Names.reported(source) return ns .. 'reported:' .. source end -- number: a worker's last report

-- A partition: hash of settings, and what its gate remembers. The zsets beside it, here and below, are about all of a
-- queue's partitions where no partition is named.
function Names.partition(queue, partition) return ns .. 'partition:' .. part(queue) .. ':' .. part(partition) end
-- Running jobs of a partition (not ""), as a zset: by creation.
function Names.running_in(queue, partition)
  return ns .. 'running-in:' .. part(queue) .. (partition and ':' .. part(partition) or '')
end
-- Scheduled jobs of a partition (not ""), as a zset: when they are due.
function Names.later(queue, partition)
  return ns .. 'later:' .. part(queue) .. (partition and ':' .. part(partition) or '')
end
-- Partitions that may have something to claim, as a zset: by virtual time.
function Names.turns(queue) return ns .. 'turns:' .. queue end
-- Those whose jobs wait for something, as a zset: by virtual time.
function Names.resting(queue) return ns .. 'resting:' .. queue end
-- Of these, those that time opens, as a zset: when.
function Names.opening(queue) return ns .. 'opening:' .. queue end
-- And those that the next claims are to look at, whatever they wait for.
function Names.waking(queue) return ns .. 'waking:' .. queue end
-- And those that wait at a task's gate with a first job of that cost; and all costs of which there are some.
function Names.lane(queue, task, cost) return ns .. 'lane:' .. part(queue) .. ':' .. part(task) .. ':' .. cost end
function Names.lane_costs(queue, task) return ns .. 'lane-costs:' .. part(queue) .. ':' .. part(task) end

-- The time that a request carries, else the server's.
local function clock(given)
  if given then return given end
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Any number of members of a variadic command, some thousand at a time.
local function in_pieces(command, key, arguments)
  for from = 1, #arguments, 4000 do
    call(command, key, unpack(arguments, from, math.min(from + 3999, #arguments)))
  end
end

-- Texts are compared by their bytes, whatever language the server speaks.
local function bytes_before(one, other)
  for at = 1, math.min(#one, #other) do
    local a, b = string.byte(one, at), string.byte(other, at)
    if a ~= b then return a < b end
  end
  return #one < #other
end
