-- needs: names edges
-- Jobs as people see them: rows of id, task, queue, state, args, priority, attempt, crashes, postponed, lease,
-- created_at, run_at, started_at, finished_at, worker, cancel_requested, progress, progress_text, result, error,
-- reason, history, options, partition, cost, flow, checkpoint, log, parents. What is at its default is nil.

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

-- One job's row; nil: it is not there.
function Records.row(id, with_log, with_parents, brief)
  local values = call('HMGET', Names.job(id), unpack(brief and BRIEF or FIELDS))
  if not values[3] then return nil end
  if brief and values[ERROR] then values[ERROR] = short(values[ERROR]) end
  local parents = with_parents and values[#FIELDS] and Edges.parents(id) or false
  local log = with_log and call('ZRANGE', Names.log(id), 0, -1) or false
  local row = { id, unpack(values, 1, #FIELDS - 1) }
  row[#FIELDS + 1] = log
  row[#FIELDS + 2] = parents
  return row
end
