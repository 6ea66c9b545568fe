-- needs: names index jobs keys gates edges flows insertion notes
-- Takes settlements, notes, now. Gives the ids of the settlements that were applied.

local request = cjson.decode(ARGV[1])
local now = clock(request.now)
for _, note in ipairs(request.notes or {}) do Notes.write(note) end

local applied, ended = {}, {}
for _, done in ipairs(request.settlements) do
  local job = Jobs.load(done.id)
  if job and job.state == 'running' and job.lease == done.lease then
    applied[#applied + 1] = done.id
    local state, run_at = done.state, job.run_at
    local fields = { attempt = done.attempt }
    local again = job.lease > 1 or job.reason -- an earlier run may have left something
    local asked = job.cancel_requested and state ~= 'completed' and state ~= 'dead'
    if again then
      fields.crashes, fields.postponed = done.crashes or false, done.postponed or false
      fields.result, fields.error, fields.reason = done.result or false, done.error or false, done.reason or false
      fields.history = done.history or false
      if asked and job.reason then fields.reason = nil end
    else
      fields.crashes, fields.postponed, fields.history = done.crashes, done.postponed, done.history
      fields.result, fields.error, fields.reason = done.result, done.error, done.reason
    end
    if FINAL[state] then
      ended[#ended + 1] = job
      fields.finished_at = now
    elseif state == 'scheduled' then
      run_at = job.cancel_requested and now or now + (done.delay_ms or 0)
      fields.run_at = run_at
      state = Jobs.due_state(run_at, now)
    end
    Jobs.move(job, state, fields)
    if FINAL[state] then Keys.job_ended(job) end
    if done.closed_ms then Gates.close(job, now + done.closed_ms) end
    for _, new in ipairs(done.follow_ups or {}) do Insertion.judge(new, now, false) end
  end
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
return applied
