-- needs: names index jobs keys edges ends
-- Revival: jobs that had ended run again. Who is blocked still waits for them anew, and who went down with them comes back,
-- once none of its parents stands in the way any more.

-- Of jobs that are revived together, by id, those that come back with the others of them anyhow.
local function risen(jobs)
  local again, found, any = {}, {}, false
  for _, job in ipairs(jobs) do
    again[job.id] = true
    found[#found + 1] = job.id
    any = Edges.stand(job).felled or any
  end
  local back, left, at = {}, {}, 1
  while any and found[at] do
    local parent = found[at]
    for _, child in ipairs(call('SMEMBERS', Names.told(parent))) do
      local job = Jobs.load(child)
      if job and Edges.stand(job).felled and call('ZSCORE', Names.bad(child), parent) then
        left[child] = (left[child] or call('ZCARD', Names.bad(child))) - 1
        if left[child] == 0 then
          back[child] = true
          if not again[child] then
            again[child] = true
            found[#found + 1] = child
          end
        end
      end
    end
    at = at + 1
  end
  return back
end

-- Nothing keeps a job down any more, and it waits for nothing.
local function mend(job)
  if not job.stand.felled then return end
  job.stand.felled = false
  call('DEL', Names.bad(job.id), Names.dead(job.id), Names.outlived(job.id))
  Ends.touch(job)
end

-- A child waits for this parent anew.
local function open(job, parent)
  local id = job.id
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
  job.stand.open = job.stand.open + 1
  Ends.touch(job)
end

local function rise(job, now)
  job.stand.felled = false
  if job.stand.hopes then
    call('SUNIONSTORE', Names.outlived(job.id), Names.outlived(job.id), Names.dead(job.id))
    call('DEL', Names.dead(job.id))
  end
  Jobs.move(job, 'blocked', Jobs.revived(now))
end

-- The children of a job that runs again; gives those of them that come back.
local function reach(parent, now)
  local back, opened = {}, {}
  local known = call('SMEMBERS', Names.told(parent.id))
  for _, child in ipairs(known) do
    local job = Jobs.load(child)
    if job and Edges.minds(job) then
      open(job, parent.id)
      opened[#opened + 1] = child
      if job.stand.felled and call('EXISTS', Names.bad(child)) == 0 then
        rise(job, now)
        back[#back + 1] = job
      end
    end
  end
  if #known > 0 then call('DEL', Names.told(parent.id)) end
  if #opened > 0 then
    in_pieces('SADD', Names.children(parent.id), opened)
    if not parent.children then Jobs.write(parent, { children = 1 }) end
  end
  return back
end

-- These jobs were revived together, and are queued. Gives, by id, those of them that are blocked again, because they went
-- down with others of them.
function Edges.reopen(jobs, now)
  local back, again, list = risen(jobs), {}, {}
  local untold = call('SCARD', Names.untold) > 0
  for _, job in ipairs(jobs) do
    if back[job.id] then
      again[job.id] = true
    else
      mend(job)
      list[#list + 1] = job
    end
  end
  local at = 1
  while list[at] do
    if untold then Ends.forget(list[at].id, false) end
    for _, job in ipairs(reach(list[at], now)) do list[#list + 1] = job end
    at = at + 1
  end
  return again
end
