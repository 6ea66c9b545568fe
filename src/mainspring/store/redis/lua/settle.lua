-- needs: names once index jobs keys gates ties flows insertion notes
-- Takes settlements, notes, now. Gives {the ids of the settlements that were not applied: their leases are others' now,
-- 1 where children have still to be told}.

local request = cjson.decode(ARGV[1])
local told = Once.told(request)
if told then return told end
local now = clock(request.now)
for _, note in ipairs(request.notes or {}) do Notes.write(note) end

local TEXTS = { 'crashes', 'postponed', 'history', 'result', 'error', 'reason' }
local refused, ended, followed = {}, {}, {}

-- A plain job's first and only run: most of what is settled.
local function plain(done)
  if not FINAL[done.state] or done.lease ~= 1 or done.follow_ups or done.closed_ms then return false end
  local fields = { 'attempt', done.attempt }
  for _, name in ipairs(TEXTS) do
    if done[name] then
      fields[#fields + 1] = name
      fields[#fields + 1] = done[name]
    end
  end
  local ends, queue = Jobs.end_plain(done.id, done.lease, done.state, now, fields)
  if queue then
    ended[#ended + 1] = { id = done.id, state = done.state, reason = done.reason, queue = queue, children = 1 }
  end
  return ends
end

local function settle(done)
  local job = Jobs.load(done.id)
  if not job or job.state ~= 'running' or job.lease ~= done.lease then return false end
  local state = done.state
  local asked = job.cancel_requested and state ~= 'completed' and state ~= 'dead'
  local fields = { attempt = done.attempt }
  for _, name in ipairs(TEXTS) do fields[name] = done[name] or false end
  if asked and job.reason then fields.reason = nil end
  if state == 'completed' then fields.checkpoint = false end
  if FINAL[state] then
    ended[#ended + 1] = job
    fields.finished_at = now
  elseif state == 'scheduled' then
    fields.run_at = job.cancel_requested and now or now + (done.delay_ms or 0)
    state = Jobs.due_state(fields.run_at, now)
  end
  Jobs.move(job, state, fields)
  if FINAL[state] then Keys.job_ended(job) end
  if done.closed_ms then Gates.close(job, now + done.closed_ms) end
  followed[#followed + 1] = done.follow_ups
  return true
end

for _, done in ipairs(request.settlements) do
  if not plain(done) and not settle(done) then refused[#refused + 1] = done.id end
end
for _, jobs in ipairs(followed) do
  for _, new in ipairs(jobs) do Insertion.judge(new, now, false) end
end
Insertion.refused(false, false)
Insertion.apply()
Edges.tie(now)
for _, job in ipairs(ended) do
  if job.children then Edges.tell(job, false) end
end
Edges.follow(now)
Gates.finish()
Index.finish()
return Once.tell(request, { refused, Ends.left and 1 or 0 })
