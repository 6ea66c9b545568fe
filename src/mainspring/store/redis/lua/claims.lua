-- needs: names index jobs keys edges
-- Claims as their owner sees them: rows of id, parents, and what the job's hash held before the claim (or the reap), as
-- it comes: field, value, field, value ... What the claim itself changes is the same for all, or follows from that.

local Claims = {}

local function fields_of(flat)
  local job = {}
  for number = 1, #flat, 2 do job[flat[number]] = flat[number + 1] end
  return job
end

-- A job that runs already, as it stands.
function Claims.running(id, with_parents)
  local flat = call('HGETALL', Names.job(id))
  local job = fields_of(flat)
  return { id, with_parents and job.parents and Edges.parents(id) or false, flat }, job
end

-- A queued job starts; its place in the order of its queue is somebody else's to take. Gives its row; nil, if it is not
-- what that place says.
function Claims.start(id, worker, now)
  local key = Names.job(id)
  local flat = call('HGETALL', key)
  local job = fields_of(flat)
  if job.state ~= 'queued' then return nil end
  call('HSET', key, 'state', 'running', 'attempt', (job.attempt or 0) + 1, 'lease', (job.lease or 0) + 1,
    'started_at', now, 'worker', worker)
  local queue, created_at = job.queue, job.created_at
  Index.take(Names.listing('queued', queue), id)
  Index.put(Names.listing('running', queue), id, created_at)
  Index.put(Names.running_by(worker), id, created_at)
  Index.hint('job:' .. id)
  if job.partition or Gates.of(job.task) ~= '' then Index.take(Names.by_time(queue), id) end
  if job.special then
    if job.flow then
      Index.take(Names.flow_listing(job.flow, 'queued'), id)
      Index.put(Names.flow_listing(job.flow, 'running'), id, created_at)
    end
    job.id = id
    Keys.job_started(job)
  end
  job.id, job.state, job.partition = id, 'running', job.partition or ''
  Gates.places(job, Index.put, created_at)
  return { id, job.parents and Edges.parents(id) or false, flat }
end
