-- needs: names index gates stats
-- One job: a hash of what differs from a new job's defaults, and its places in the sorted sets that its state calls
-- for.

local Jobs = {}
local ORDER = 2 ^ 43 -- times fit below it, and priorities above it, into one exact number

-- What moving a job about needs to know of it; the texts (args, result, error, history, options) stay where they are.
local FIELDS = {
  'state', 'task', 'queue', 'partition', 'flow', 'priority', 'run_at', 'created_at', 'lease', 'worker',
  'cancel_requested', 'reason', 'keys', 'cost', 'parents', 'children', 'finished_at',
}
local DEFAULTS = { partition = '', priority = 5, lease = 0, cost = 1 }
local FINAL = { completed = true, dead = true, cancelled = true }
local WAITING = { blocked = true, scheduled = true, queued = true }

-- Where none of these is set, a job has only the places that every job has, and ends without ado.
local SPECIAL = {
  flow = true, keys = true, cancel_requested = true, reason = true, checkpoint = true,
}

local loaded = {}

-- The job of that id, or nil. Asked for again, it is the same table.
function Jobs.load(id)
  local job = loaded[id]
  if job == nil then
    local values = call('HMGET', Names.job(id), unpack(FIELDS))
    job = values[1] and {
      id = id, state = values[1], task = values[2], queue = values[3], partition = values[4] or '',
      flow = values[5] or nil, priority = tonumber(values[6] or 5), run_at = tonumber(values[7]),
      created_at = tonumber(values[8]), lease = tonumber(values[9] or 0), worker = values[10] or nil,
      cancel_requested = values[11] or nil, reason = values[12] or nil, keys = values[13] or nil,
      cost = tonumber(values[14] or 1), parents = values[15] or nil, children = values[16] or nil,
      finished_at = tonumber(values[17] or nil), gate = Gates.of(values[2]),
    }
    loaded[id] = job
  end
  return job or nil
end

-- Of a job whose edges alone matter: its state, and whether it has children. nil: it is not there.
function Jobs.peek(id)
  if loaded[id] ~= nil then return loaded[id] or nil end
  local values = call('HMGET', Names.job(id), 'state', 'children')
  return values[1] and { id = id, state = values[1], children = values[2] or nil } or nil
end

-- Write fields of a job; false takes one away.
function Jobs.write(job, fields)
  local set, gone, special = {}, {}, false
  for field, value in pairs(fields) do
    special = special or value and SPECIAL[field]
    if value == false then
      gone[#gone + 1] = field
      job[field] = DEFAULTS[field]
    else
      set[#set + 1] = field
      set[#set + 1] = value
      job[field] = value
    end
  end
  if special then
    set[#set + 1] = 'special'
    set[#set + 1] = 1
  end
  local key = Names.job(job.id)
  if #set > 0 then call('HSET', key, unpack(set)) end
  if #gone > 0 then call('HDEL', key, unpack(gone)) end
end

local function order(job) return job.priority * ORDER + job.run_at end

-- Every place that a job has in its present state is taken from it, or given to it.
local function places(job, write)
  local state, id = job.state, job.id
  local at = FINAL[state] and job.finished_at or job.created_at
  write(Names.listing(state, job.queue), id, at)
  if state == 'queued' then
    write(Names.order(job.queue, job.partition, job.gate), id, order(job))
    if job.partition ~= '' or job.gate ~= '' then write(Names.by_time(job.queue), id, job.run_at) end
  elseif state == 'scheduled' then
    write(Names.due(job.queue), id, job.run_at)
  elseif state == 'running' then
    write(Names.running_by(job.worker), id, job.created_at)
  end
  Gates.places(job, write, at)
  if job.flow then write(Names.flow_listing(job.flow, state), id, at) end
end

function Jobs.leave(job)
  places(job, Index.take)
  Gates.touch(job)
  if job.state == 'running' or job.state == 'dead' then Gates.left(job.queue, job.task) end
end

function Jobs.enter(job)
  places(job, Index.put)
  Gates.touch(job)
  Index.hint('job:' .. job.id)
  if job.state == 'queued' or job.state == 'scheduled' then Index.hint('queue:' .. job.queue) end
end

-- A running job, the first time that it does, and with nothing special about it, is final. `fields` are those to write,
-- one after the other. Gives whether it was so, and its queue where it has children, who have to be told.
function Jobs.end_plain(id, lease, state, now, fields)
  local key = Names.job(id)
  local job = call('HMGET', key, 'state', 'lease', 'special', 'queue', 'worker', 'task', 'partition', 'children')
  if lease ~= 1 or job[1] ~= 'running' or job[2] ~= '1' or job[3] then return false end
  local queue, task = job[4], job[6]
  call('HSET', key, 'state', state, 'finished_at', now, unpack(fields))
  Index.take(Names.listing('running', queue), id)
  Index.take(Names.running_by(job[5]), id)
  Index.put(Names.listing(state, queue), id, now)
  local ended = { id = id, state = 'running', queue = queue, task = task, partition = job[7] or '' }
  Gates.places(ended, Index.take)
  Gates.touch(ended)
  Gates.left(queue, task)
  Index.hint('job:' .. id)
  return true, job[8] and queue
end

-- The job is in another state from now on, with these fields changed.
function Jobs.move(job, state, fields)
  Jobs.leave(job)
  fields.state = state
  Jobs.write(job, fields)
  Jobs.enter(job)
end

-- How a job waits that is to run at `run_at`.
function Jobs.due_state(run_at, now) return run_at > now and 'scheduled' or 'queued' end

-- What is written of a job that is revived: all but its history, its lease and what it has saved is as if new.
function Jobs.revived(now)
  return {
    run_at = now, finished_at = false, attempt = false, crashes = false, postponed = false, cancel_requested = false,
    progress = false, progress_text = false, result = false, error = false, reason = false,
  }
end

-- A new job, as its document describes it; all else has been looked at before. `waits` and `awaited` say that it has
-- parents, and children.
function Jobs.create(new, state, run_at, now)
  local job = {
    id = new.id, task = new.task, queue = new.queue, state = state, priority = new.priority or 5, run_at = run_at,
    created_at = now, partition = new.partition or '', gate = Gates.of(new.task), cost = new.cost or 1, lease = 0,
    flow = new.flow, parents = new.waits, children = new.awaited,
  }
  local fields = {
    'state', state, 'task', job.task, 'queue', job.queue, 'created_at', now, 'run_at', run_at,
  }
  local function say(field, value)
    fields[#fields + 1] = field
    fields[#fields + 1] = value
  end
  if new.args then say('args', new.args) end
  if new.priority then say('priority', new.priority) end
  if new.options then say('options', new.options) end
  if new.cost then say('cost', new.cost) end
  if job.flow then say('flow', job.flow) end
  if job.partition ~= '' then say('partition', job.partition) end
  if job.flow then say('special', 1) end
  if new.waits then say('parents', new.waits) end
  if new.awaited then say('children', 1) end
  call('HSET', Names.job(job.id), unpack(fields))
  loaded[job.id] = job
  call('SADD', Names.queues, job.queue)
  Stats.count('enqueued', job.queue, job.task, now, 1)
  Gates.part(job)
  Jobs.enter(job)
  return job
end

-- The job is gone, with its log and its output.
function Jobs.delete(job)
  Jobs.leave(job)
  call('DEL', Names.job(job.id), Names.log(job.id), Names.output(job.id))
  if job.flow then Index.put(Names.thinned, job.flow, 0) end
  loaded[job.id] = false
end
