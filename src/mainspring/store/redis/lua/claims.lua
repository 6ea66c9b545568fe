-- needs: names index jobs keys edges
-- Claims as their owner sees them: rows of id, lease, task, queue, args, priority, attempt, crashes, postponed,
-- created_at, run_at, started_at, worker, history, options, cancel_requested, partition, cost, flow, parents. What is at its
-- default is nil.

local Claims = {}

local FIELDS = {
  'task', 'queue', 'args', 'priority', 'attempt', 'crashes', 'postponed', 'created_at', 'run_at', 'started_at', 'history',
  'options', 'cancel_requested', 'partition', 'cost', 'flow', 'lease', 'worker', 'state', 'keys', 'parents',
}

local function row(id, job, lease, attempt, started_at, worker, parents)
  return {
    id, lease, job[1], job[2], job[3], job[4], attempt, job[6], job[7], job[8], job[9], started_at, worker, job[11],
    job[12], job[13], job[14], job[15], job[16], parents,
  }
end

-- A job that runs already, as it stands; its lease, worker and so on may have been changed since.
function Claims.running(id, with_parents)
  local job = call('HMGET', Names.job(id), unpack(FIELDS))
  local parents = with_parents and job[21] and Edges.parents(id) or false
  return row(id, job, job[17], job[5], job[10], job[18], parents)
end

-- A queued job starts; its place in the order of its queue is somebody else's to take. Gives its row; nil, if it is not
-- what that place says.
function Claims.start(id, worker, now)
  local key = Names.job(id)
  local job = call('HMGET', key, unpack(FIELDS))
  if job[19] ~= 'queued' then return nil end
  local lease, attempt = (job[17] or 0) + 1, (job[5] or 0) + 1
  call('HSET', key, 'state', 'running', 'attempt', attempt, 'lease', lease, 'started_at', now, 'worker', worker)
  local queue, flow = job[2], job[16] or nil
  local created_at = tonumber(job[8])
  Index.take(Names.listing('queued', queue), id)
  if job[14] or Gates.of(job[1]) ~= '' then Index.take(Names.by_time(queue), id) end
  Index.put(Names.listing('running', queue), id, created_at)
  Index.put(Names.running_by(worker), id, created_at)
  Index.hint('job:' .. id)
  local started = { id = id, task = job[1], queue = queue, partition = job[14] or '', state = 'running', keys = job[20] }
  Gates.places(started, Index.put, created_at)
  if flow then
    Index.take(Names.flow_listing(flow, 'queued'), id)
    Index.put(Names.flow_listing(flow, 'running'), id, created_at)
  end
  Keys.job_started(started)
  local parents = job[21] and Edges.parents(id) or false
  return row(id, job, lease, attempt, now, worker, parents)
end
