-- needs: names index jobs
-- Keys: a name that at most one job holds. The names that a job has taken are in a set of its own, which may outlive
-- it: what is held until a time is held by whoever has that id. Its field `keys` says that there are some.

local Keys = {}

-- Who holds a key now: job, ends (what gives it back), expires_at; nil: nobody.
function Keys.holder(name, now)
  local held = call('HMGET', Names.key(name), 'job', 'until', 'expires_at')
  local expires_at = held[3] and tonumber(held[3])
  if not held[1] or (expires_at and expires_at <= now) then return nil end
  return { job = held[1], ends = held[2], expires_at = expires_at }
end

local function forget(name, job)
  call('DEL', Names.key(name))
  call('SREM', Names.keys_of(job), name)
  Index.take(Names.expiring, name)
end
Keys.forget = forget

function Keys.take(job, name, ends, expires_at)
  local before = call('HGET', Names.key(name), 'job')
  if before then forget(name, before) end
  call('HSET', Names.key(name), 'job', job.id, 'until', ends)
  if expires_at then
    call('HSET', Names.key(name), 'expires_at', expires_at)
    Index.put(Names.expiring, name, expires_at)
  end
  call('SADD', Names.keys_of(job.id), name)
  if not job.keys then Jobs.write(job, { keys = 1 }) end
end

-- The job gives back its keys that end with one of these: started, settled, resolved, expiry.
local function give_back(job, ends)
  for _, name in ipairs(call('SMEMBERS', Names.keys_of(job.id))) do
    if ends[call('HGET', Names.key(name), 'until') or 'gone'] then forget(name, job.id) end
  end
end

local STARTED = { started = true }
local DEAD = { started = true, settled = true }
local ENDED = { started = true, settled = true, resolved = true }
local RESOLVED = { resolved = true }
local ALL = { started = true, settled = true, resolved = true, expiry = true }

function Keys.job_started(job) if job.keys then give_back(job, STARTED) end end
-- A dead job keeps what is held until its end is resolved.
function Keys.job_ended(job) if job.keys then give_back(job, job.state == 'dead' and DEAD or ENDED) end end
function Keys.job_pruned(job) if job.keys then give_back(job, RESOLVED) end end
function Keys.job_deleted(job) give_back(job, ALL) end

local ESCAPES = {
  ['"'] = '\\"', ['\\'] = '\\\\', ['\n'] = '\\n', ['\r'] = '\\r', ['\t'] = '\\t', ['\f'] = '\\f', ['\b'] = '\\b',
}

-- The key that the job of a sequence holds which has started and not ended for good.
function Keys.of_sequence(queue, partition)
  local quoted = string.gsub(partition, '[%c"\\]', function(char)
    if char == '\127' then return char end
    return ESCAPES[char] or string.format('\\u%04x', string.byte(char))
  end)
  return 'sequence:' .. queue .. ':"' .. quoted .. '"'
end
