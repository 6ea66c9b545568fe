-- needs: names index jobs keys edges ends flows
-- Ties: new edges. They are thought out before anything is written, since a script cannot take back what it wrote.

local Ties = {}
local ties, by_child = {}, {} -- a tie: all new edges of one child
local lone = {} -- new jobs that are blocked and have no edges: what follows on a flow without jobs
local blocked = {} -- new jobs, by id
local parents = {} -- what is known of jobs of the store, by id: false, where they are not there

-- Whether a new job is blocked from the start.
function Edges.blocks(new)
  if not new.parents and not Flows.calls(new) then return false end
  blocked[new.id] = true
  return true
end

local function peek(id)
  if parents[id] == nil then parents[id] = Jobs.peek(id) or false end
  return parents[id]
end

-- A child is to wait for a parent, unless it does so already.
local function add(child, parent, policy, wants, known)
  local tie = by_child[child]
  if not tie then
    tie = { child = child, new = known[child], edges = {}, open = 0, hopes = false, parents = {} }
    ties[#ties + 1] = tie
    by_child[child] = tie
  end
  if tie.parents[parent] then return end
  tie.parents[parent] = true
  if not tie.new and call('HEXISTS', Names.parents(child), parent) == 1 then return end
  local job = not known[parent] and peek(parent)
  local open = known[parent] ~= nil or (job and not FINAL[job.state]) or false
  if open then tie.open = tie.open + 1 end
  if known[parent] then known[parent].awaited = 1 end
  tie.hopes = tie.hopes or policy == 'dead'
  Ties.outside = Ties.outside or (tie.new and open and not known[parent])
  tie.edges[#tie.edges + 1] = { parent = parent, policy = policy, wants = wants, open = open }
end

-- Whether a callback waits for jobs that come now: it does as long as it is blocked, or went down and may come back.
local function waits(callback, known)
  if known[callback] then return true end
  local job = Jobs.load(callback)
  return job and Edges.minds(job)
end

-- Every new job of a flow is waited for by the callbacks of that, and of the flows that it is a part of; those of one
-- flow do not wait for each other.
local function add_callbacks(new, later, known)
  for _, flow in ipairs(Flows.lineage(new.flow)) do
    if not (flow.id == new.flow and flow.calls[new.id]) then
      for _, callback in ipairs(flow.callbacks) do
        local child = callback[1]
        if child ~= new.id and waits(child, known) then
          add(child, new.id, callback[2], false, known)
          if not known[child] and not later[child] then
            later[child] = true
            later[#later + 1] = child
          end
        end
      end
    end
  end
end

-- Whether a job of the store waits, by way of others, for itself, once all ties are there.
local function waits_for_itself(start, below)
  local found, seen, at = { start }, {}, 1
  while found[at] do
    local parent = found[at]
    for _, children in ipairs({ below[parent] or {}, call('SMEMBERS', Names.children(parent)) }) do
      for _, child in ipairs(children) do
        if child == start then return true end
        if not seen[child] then
          seen[child] = true
          found[#found + 1] = child
        end
      end
    end
    at = at + 1
  end
  return false
end

local function circle(later)
  local below = {}
  for _, tie in ipairs(ties) do
    for _, edge in ipairs(tie.edges) do
      if edge.open then
        below[edge.parent] = below[edge.parent] or {}
        table.insert(below[edge.parent], tie.child)
      end
    end
  end
  table.sort(later, bytes_before)
  for _, callback in ipairs(later) do
    if waits_for_itself(callback, below) then return callback end
  end
end

-- Look at the edges of new jobs before anything is written. `known` are these by id, `instead` says which job there is
-- in place of one that a key turned away. Gives why they cannot be: the word for it and the names; nil: they can. Where
-- not `strict`, a parent that is not there counts as deleted.
function Edges.plan(new_jobs, known, instead, strict)
  for _, new in ipairs(new_jobs) do
    for _, edge in ipairs(new.parents or {}) do
      local parent = instead[edge.parent] or edge.parent
      if strict and not known[parent] and not peek(parent) then return { 'unknown parent', new.id, edge.parent } end
      add(new.id, parent, edge.policy, edge.wants, known)
    end
  end
  local later = {}
  for _, new in ipairs(new_jobs) do
    if new.flow then add_callbacks(new, later, known) end
  end
  local callback = strict and Ties.outside and later[1] and circle(later)
  if callback then return { 'circle', callback } end
  for _, tie in ipairs(ties) do
    if tie.new then tie.new.waits = Edges.sum({ open = tie.open, hopes = tie.hopes }) end
  end
  for _, new in ipairs(new_jobs) do
    if blocked[new.id] and not by_child[new.id] then lone[#lone + 1] = new.id end
  end
end

-- How a parent has ended for a child that comes after that.
local function ending(parent)
  local job = Jobs.load(parent)
  local ended = job and Ends.of(job, false) or { state = 'deleted', reason = 'deleted' }
  ended.parent = parent
  return ended
end

-- Write a child's new edges; open ones are added to `children`, by parent.
local function write(tie, children)
  local job = Jobs.load(tie.child)
  local stand = Edges.stand(job)
  local key, fields = Names.parents(tie.child), {}
  local place = tie.new and 0 or call('HLEN', key)
  if not tie.new then
    stand.open, stand.hopes = stand.open + tie.open, stand.hopes or tie.hopes
    Ends.touch(job)
  elseif job.state ~= 'blocked' then
    Jobs.move(job, 'blocked', {})
  end
  for _, new in ipairs(tie.edges) do
    local edge = { place = place, policy = new.policy, wants = new.wants, state = '-' }
    if new.open then
      children[new.parent] = children[new.parent] or {}
      table.insert(children[new.parent], tie.child)
    else
      Ends.close(job, edge, ending(new.parent))
    end
    fields[#fields + 1] = new.parent
    fields[#fields + 1] = Edges.write(edge)
    place = place + 1
  end
  in_pieces('HSET', key, fields)
end

-- Write what was planned, after the jobs themselves.
function Edges.tie()
  for _, id in ipairs(lone) do
    Edges.stand(Jobs.load(id))
    Ends.touch(Jobs.load(id))
  end
  if #ties == 0 then return end
  local children = {}
  for _, tie in ipairs(ties) do write(tie, children) end
  local unfinished = call('EXISTS', Names.unfinished) == 1
  for parent, ids in pairs(children) do
    local job = peek(parent)
    if unfinished then Ends.forget(parent, false) end
    if not job.children then Jobs.write(job, { children = 1 }) end
    in_pieces('SADD', Names.children(parent), ids)
  end
end
