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

-- One job's row; nil: it is not there.
function Records.row(id, with_log, with_parents)
  local values = call('HMGET', Names.job(id), unpack(FIELDS))
  if not values[3] then return nil end
  local parents = with_parents and values[#FIELDS] and Edges.parents(id) or false
  local log = with_log and call('ZRANGE', Names.log(id), 0, -1) or false
  local row = { id, unpack(values, 1, #FIELDS - 1) }
  row[#FIELDS + 1] = log
  row[#FIELDS + 2] = parents
  return row
end
