-- needs: names once index jobs keys gates edges ends revival flows selection
-- Takes verb, filter, states, value, reason, limit, cursor, now. Gives {count, cursor or nil, 1 where children have
-- still to be told}.

local REACH = 2000 -- how many jobs one script looks at

local request = cjson.decode(ARGV[1])
local told = Once.told(request)
if told then return told end
local now, verb, value = clock(request.now), request.verb, request.value
local ids, cursor = Selection.walk(request.filter, request.states, request.limit, request.cursor, REACH)

local count, ended, revived = 0, {}, {}

local Verbs = {}

function Verbs.cancel(job)
  if WAITING[job.state] then
    Jobs.move(job, 'cancelled', { finished_at = now, reason = request.reason or false })
    Stats.count('cancelled', job.queue, job.task, now, 1)
    Keys.job_ended(job)
    ended[#ended + 1] = job
    return true
  end
  if job.cancel_requested then return false end
  Jobs.write(job, { cancel_requested = 1, reason = request.reason or false })
  Index.hint('job:' .. job.id)
  return true
end

function Verbs.revive(job)
  if job.state == 'scheduled' then
    Jobs.move(job, 'queued', { run_at = now })
    return true
  end
  Jobs.move(job, 'queued', Jobs.revived(now))
  revived[#revived + 1] = job
  return true
end

function Verbs.reschedule(job)
  Jobs.move(job, Jobs.due_state(value, now), { run_at = value })
  return true
end

function Verbs.reprioritise(job)
  Jobs.move(job, job.state, { priority = value })
  return true
end

function Verbs.delete(job)
  local was_final = FINAL[job.state]
  Keys.job_deleted(job)
  Jobs.delete(job)
  if not was_final and job.children then Edges.tell(job, true) end
  Edges.drop(job)
  return true
end

local together, risen = {}, {}
for _, id in ipairs(ids) do
  local job = verb == 'revive' and Jobs.load(id)
  if job and FINAL[job.state] then together[#together + 1] = job end
end
if together[1] then risen = Edges.risen(together) end

for _, id in ipairs(ids) do
  local job = Jobs.load(id)
  if job and not risen[id] and Verbs[verb](job) then count = count + 1 end
end
for _, job in ipairs(ended) do
  if job.children then Edges.tell(job, false) end
end
if #revived > 0 then Edges.reopen(revived, now) end
Edges.follow(now)
Gates.finish()
Index.finish()
return Once.tell(request, { count, cursor or false, Ends.left and 1 or 0 })
