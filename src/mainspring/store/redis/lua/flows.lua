-- needs: names index
-- Flows: jobs that belong together, callbacks that wait for all others of them, and flows that are a part of others.

local Flows = {}
local flows = {} -- by id: false where there is none
local offered, callbacks, families = {}, {}, {}
local STATES = { 'blocked', 'scheduled', 'queued', 'running', 'completed', 'dead', 'cancelled' }

local function know(id, parent, called)
  local flow = { id = id, parent = parent or nil, callbacks = called, calls = {} }
  for _, callback in ipairs(called) do
    flow.calls[callback[1]] = true
    callbacks[callback[1]] = true
  end
  flows[id] = flow
  return flow
end

local function load(id)
  if flows[id] == nil then
    local values = call('HMGET', Names.flow(id), 'created_at', 'parent', 'callbacks')
    flows[id] = values[1] and know(id, values[2], values[3] and cjson.decode(values[3]) or {})
  end
  return flows[id]
end

-- Flows that are to be, if all goes well. One that is there stays as it is.
function Flows.offer(new)
  for _, flow in ipairs(new) do
    if not load(flow.id) then
      know(flow.id, flow.parent, flow.callbacks)
      offered[#offered + 1] = flow
    end
  end
end

-- They are, from now on.
function Flows.keep(now)
  for _, flow in ipairs(offered) do
    local key = Names.flow(flow.id)
    call('HSET', key, 'name', flow.name, 'created_at', now)
    if flow.callbacks[1] then call('HSET', key, 'callbacks', cjson.encode(flow.callbacks)) end
    if flow.parent then
      call('HSET', key, 'parent', flow.parent)
      call('SADD', Names.parts(flow.parent), flow.id)
    end
    Index.put(Names.flows, flow.id, now)
    Index.put(Names.thinned, flow.id, 0)
  end
end

-- A flow and those that it is a part of: each with id, callbacks ({job, policy}), calls (its callbacks' ids).
function Flows.lineage(id)
  local lineage, seen = {}, {}
  while id and not seen[id] and load(id) do
    seen[id] = true
    lineage[#lineage + 1] = flows[id]
    id = flows[id].parent
  end
  return lineage
end

-- Whether a new job is what follows on a flow.
function Flows.calls(job)
  if job.flow then Flows.lineage(job.flow) end
  return callbacks[job.id] or false
end

-- The ids of a flow, and of all that are a part of it.
function Flows.family(id)
  if families[id] then return families[id] end
  local family, seen, at = { id }, { [id] = true }, 1
  while family[at] do
    for _, part in ipairs(call('SMEMBERS', Names.parts(family[at]))) do
      if not seen[part] then
        seen[part] = true
        family[#family + 1] = part
      end
    end
    at = at + 1
  end
  families[id] = family
  return family
end

-- A flow as a row of id, name, parent, created_at, callbacks, and its and its parts' jobs: state, number ...
function Flows.row(id)
  local values = call('HMGET', Names.flow(id), 'name', 'parent', 'created_at', 'callbacks')
  if not values[3] then return nil end
  local counts = {}
  for _, state in ipairs(STATES) do
    local number = 0
    for _, part in ipairs(Flows.family(id)) do number = number + call('ZCARD', Names.flow_listing(part, state)) end
    if number > 0 then
      counts[#counts + 1] = state
      counts[#counts + 1] = number
    end
  end
  return { id, values[1], values[2], values[3], values[4], counts }
end

-- Up to `limit` flows, newest first, as rows, after a cursor, which is a time and an id; and where to go on.
function Flows.page(limit, cursor)
  local rows, rank, at, after = {}, 0, nil, nil
  if cursor then
    at, after = string.match(cursor, '^(%d+):(.*)$')
    at, rank = tonumber(at), call('ZCOUNT', Names.flows, '(' .. at, '+inf')
  end
  local last
  while true do
    local found = call('ZREVRANGE', Names.flows, rank, rank + limit, 'WITHSCORES')
    for number = 1, #found, 2 do
      local id, came = found[number], tonumber(found[number + 1])
      if not (at == came and id >= after) then
        if #rows == limit then return rows, last end
        rows[#rows + 1] = Flows.row(id)
        last = string.format('%.0f:%s', came, id)
      end
    end
    if #found == 0 then return rows, nil end
    rank = rank + limit + 1
  end
end

-- Flows of which nothing is left are gone, and then those that they were a part of may be; of those that have lost
-- something, some.
function Flows.prune(limit)
  local found = call('ZPOPMIN', Names.thinned, limit)
  local thinned = {}
  for number = 1, #found, 2 do thinned[#thinned + 1] = found[number] end
  local at = 1
  while thinned[at] do
    local id = thinned[at]
    local keys = { Names.parts(id) }
    for _, state in ipairs(STATES) do keys[#keys + 1] = Names.flow_listing(id, state) end
    if call('EXISTS', unpack(keys)) == 0 then
      local parent = call('HGET', Names.flow(id), 'parent')
      call('DEL', Names.flow(id))
      call('ZREM', Names.flows, id)
      if parent then
        call('SREM', Names.parts(parent), id)
        thinned[#thinned + 1] = parent
      end
    end
    at = at + 1
  end
end
