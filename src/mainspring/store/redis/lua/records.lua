-- needs: names edges
-- Jobs as people see them: rows of id, task, queue, state, args, priority, attempt, crashes, postponed, lease,
-- created_at, run_at, started_at, finished_at, worker, cancel_requested, progress, progress_text, result, error,
-- reason, history, options, partition, cost, flow, checkpoint, log, output, parents. What is at its default is nil.

local Records = {}

local FIELDS = {
  'task', 'queue', 'state', 'args', 'priority', 'attempt', 'crashes', 'postponed', 'lease', 'created_at', 'run_at',
  'started_at', 'finished_at', 'worker', 'cancel_requested', 'progress', 'progress_text', 'result', 'error', 'reason',
  'history', 'options', 'partition', 'cost', 'flow', 'checkpoint', 'parents',
}

-- The same without what is large of a job: no field has that name.
local BRIEF, LARGE = {}, { args = true, result = true, history = true, options = true, checkpoint = true }
for number, field in ipairs(FIELDS) do BRIEF[number] = LARGE[field] and '' or field end
local ERROR, MESSAGE = 19, 500

-- An error without its traceback, and the beginning of its message.
local function short(error)
  local told = cjson.decode(error)
  local message = string.sub(told.message, 1, MESSAGE)
  -- No character is cut in two.
  if #told.message > MESSAGE then message = string.gsub(message, '[\192-\255][\128-\191]*$', '') end
  return cjson.encode({ type = told.type, message = message, traceback = '' })
end

-- What stands in a sorted set beyond a place.
local function beyond(key, place)
  if not place then return call('ZRANGE', key, 0, -1) end
  return call('ZRANGEBYSCORE', key, string.format('(%.0f', place), '+inf')
end

-- One job's row; nil: it is not there. With its log and output beyond a mark, {line, piece}, if there is one; false:
-- without.
function Records.row(id, mark, with_parents, brief)
  local values = call('HMGET', Names.job(id), unpack(brief and BRIEF or FIELDS))
  if not values[3] then return nil end
  if brief and values[ERROR] then values[ERROR] = short(values[ERROR]) end
  local row = { id, unpack(values, 1, #FIELDS - 1) }
  row[#FIELDS + 1] = mark and beyond(Names.log(id), mark[1]) or false
  row[#FIELDS + 2] = mark and beyond(Names.output(id), mark[2]) or false
  row[#FIELDS + 3] = with_parents and values[#FIELDS] and Edges.parents(id) or false
  return row
end

local FOLLOWED = {
  'state', 'lease', 'attempt', 'run_at', 'finished_at', 'cancel_requested', 'progress', 'progress_text', 'reason',
}

-- What differs whenever anything about the job does that people follow; nil: it is not there.
function Records.stamp(id)
  local values = call('HMGET', Names.job(id), unpack(FOLLOWED))
  if not values[1] then return nil end
  for place, value in ipairs(values) do values[place] = value or '' end
  for _, key in ipairs({ Names.log(id), Names.output(id) }) do
    values[#values + 1] = call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2] or ''
  end
  return redis.sha1hex(table.concat(values, '\n'))
end
