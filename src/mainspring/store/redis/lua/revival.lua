-- needs: names index jobs keys edges ends
-- Revival: jobs that had ended run again. Who is blocked still waits for them anew, and who went down with them comes
-- back, once none of its parents stands in the way any more.

local LOOKED_AT = 2000 -- how many jobs above those that are revived are looked at

-- Whether all parents that keep a job down are among those that run again, or come back with them. `known` is what has
-- been found out: by id, whether a job comes back.
local function comes_back(start, again, known, reach)
  local above = { { id = start, at = 1 } }
  while above[1] do
    local top = above[#above]
    if not top.bad then
      local parents = call('HGET', Names.job(top.id), 'parents')
      reach.left = reach.left - 1
      local felled = parents and string.find(parents, 'felled', 1, true) and reach.left > 0
      top.bad = felled and call('ZRANGE', Names.bad(top.id), 0, -1) or { false }
    end
    local parent = top.bad[top.at]
    if parent == nil then
      known[top.id] = true
    elseif parent == false or (known[parent] == false and not again[parent]) then
      known[top.id] = false
    elseif again[parent] or known[parent] then
      top.at = top.at + 1
    else
      above[#above + 1] = { id = parent, at = 1 }
    end
    if known[top.id] ~= nil then above[#above] = nil end
  end
  return known[start]
end

-- Of final jobs that are to be revived together, by id, those that come back with the others of them anyhow.
function Edges.risen(jobs)
  local again, known, back, reach = {}, {}, {}, { left = LOOKED_AT }
  for _, job in ipairs(jobs) do again[job.id] = true end
  for _, job in ipairs(jobs) do
    if Edges.stand(job).felled then back[job.id] = comes_back(job.id, again, known, reach) or nil end
  end
  return back
end

-- A child waits for this parent anew.
local function open(job, parent)
  local id, stand = job.id, Edges.stand(job)
  local edge = Edges.read(call('HGET', Names.parents(id), parent))
  if edge.state == '-' then return end
  edge.state, edge.text = '-', nil
  call('HSET', Names.parents(id), parent, Edges.write(edge))
  if edge.policy == 'fail' then
    call('ZREM', Names.bad(id), parent)
  elseif edge.policy == 'dead' then
    call('SREM', Names.dead(id), parent)
    call('SREM', Names.outlived(id), parent)
  end
  stand.open = stand.open + 1
  Ends.touch(job)
end

-- A child comes back. That a parent is dead releases it no more.
local function rise(job, now)
  job.stand.felled = false
  if job.stand.hopes then
    call('SUNIONSTORE', Names.outlived(job.id), Names.outlived(job.id), Names.dead(job.id))
    call('DEL', Names.dead(job.id))
  end
  Jobs.move(job, 'blocked', Jobs.revived(now))
end

-- The children of a job that runs again, as many as a script may; gives those of them that come back.
local function reach(parent, now)
  local back, opened, told = {}, {}, call('SPOP', Names.told(parent), Ends.jobs)
  Ends.jobs = Ends.jobs - #told
  for _, child in ipairs(told) do
    local job = Jobs.load(child)
    if job and Edges.minds(job) then
      open(job, parent)
      opened[#opened + 1] = child
      if job.stand.felled and call('EXISTS', Names.bad(child)) == 0 then
        rise(job, now)
        back[#back + 1] = child
      end
    end
  end
  if #opened > 0 then
    in_pieces('SADD', Names.children(parent), opened)
    local job = Jobs.peek(parent)
    if job and not job.children then Jobs.write(job, { children = 1 }) end
  end
  return back
end

-- The children of these jobs, by id, wait for them anew, and so on all the way down.
function Edges.open(parents, now)
  local at = 1
  while parents[at] and Ends.jobs > 0 do
    for _, child in ipairs(reach(parents[at], now)) do parents[#parents + 1] = child end
    if Ends.jobs > 0 then at = at + 1 end
  end
  while parents[at] do
    if call('EXISTS', Names.told(parents[at])) == 1 then
      Ends.leave('open', parents[at], call('HGET', Names.job(parents[at]), 'queue') or '')
    end
    at = at + 1
  end
end

-- These jobs were revived together, without those that come back anyhow (`risen`), and are queued. Nothing keeps them
-- down any more, and they wait for nothing.
function Edges.reopen(jobs, now)
  local parents = {}
  local unfinished = call('EXISTS', Names.unfinished) == 1
  for _, job in ipairs(jobs) do
    if unfinished then Ends.forget(job.id, true) end
    if Edges.stand(job).felled then
      job.stand.felled = false
      call('DEL', Names.bad(job.id), Names.dead(job.id), Names.outlived(job.id))
      Ends.touch(job)
    end
    parents[#parents + 1] = job.id
  end
  Edges.open(parents, now)
end
