-- needs: names jobs flows
-- Walks over jobs that fit a filter, newest first: live ones by creation, then final ones by their end. The sorted sets
-- that may have some are merged; a place among them is (time, id), and a cursor says "live" or "final" before it.

local Selection = {}

Selection.SIDES = {
  { name = 'live', states = { 'blocked', 'scheduled', 'queued', 'running' } },
  { name = 'final', states = { 'completed', 'dead', 'cancelled' } },
}
local CHUNK = 64
local PER_JOB = 1024 -- so many bytes that are read of jobs count for one job that is looked at

local function before(time, id, other_time, other_id)
  return time < other_time or (time == other_time and bytes_before(id, other_id))
end

-- How many members of a sorted set stand at (time, id) or after it: the rank, from the newest, at which to go on.
function Selection.rank_after(key, time, id)
  local low, high = 0, call('ZCARD', key)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local member = call('ZREVRANGE', key, middle, middle, 'WITHSCORES')
    if before(tonumber(member[2]), member[1], time, id) then high = middle else low = middle + 1 end
  end
  return low
end

-- The next member of a source; false where there is no more.
local function advance(source)
  if source.at > #source.buffer then
    source.buffer = call('ZREVRANGE', source.key, source.rank, source.rank + CHUNK - 1, 'WITHSCORES')
    source.rank, source.at = source.rank + CHUNK, 1
  end
  if not source.buffer[source.at] then return false end
  source.id, source.time = source.buffer[source.at], tonumber(source.buffer[source.at + 1])
  source.at = source.at + 2
  return true
end

-- A heap of sources, the one with the newest member first.
local function sink(heap, place)
  while true do
    local newest = place
    for _, below in ipairs({ 2 * place, 2 * place + 1 }) do
      local other, best = heap[below], heap[newest]
      if other and before(best.time, best.id, other.time, other.id) then newest = below end
    end
    if newest == place then return end
    heap[place], heap[newest] = heap[newest], heap[place]
    place = newest
  end
end

local function keys_of(filter, states)
  local keys = {}
  for _, state in ipairs(states) do
    if filter.flow then
      for _, flow in ipairs(Flows.family(filter.flow)) do keys[#keys + 1] = Names.flow_listing(flow, state) end
    elseif filter.queue then
      keys[#keys + 1] = Names.listing(state, filter.queue)
    else
      for _, queue in ipairs(call('SMEMBERS', Names.queues)) do keys[#keys + 1] = Names.listing(state, queue) end
    end
  end
  return keys
end

local read = 0 -- bytes of jobs

-- Whether the text of its arguments has the filter's, and its options the tag.
local function says(filter, id)
  local values = call('HMGET', Names.job(id), filter.text and 'args' or '', filter.tag and 'options' or '')
  read = read + #(values[1] or '') + #(values[2] or '')
  if filter.text then
    local args = string.lower(string.sub(values[1] or '{}', 1, filter.searched))
    if not string.find(args, filter.text, 1, true) then return false end
  end
  if filter.tag then
    if not values[2] or not string.find(values[2], '"tags"', 1, true) then return false end
    local readable, options = pcall(cjson.decode, values[2])
    for _, tag in ipairs(readable and type(options.tags) == 'table' and options.tags or {}) do
      if tag == filter.tag then return true end
    end
    return false
  end
  return true
end

local function fits(filter, id)
  if filter.task or filter.partition or (filter.flow and filter.queue) then
    local values = call('HMGET', Names.job(id), 'task', 'partition', 'queue')
    if filter.task and values[1] ~= filter.task
      or filter.partition and (values[2] or '') ~= filter.partition
      or filter.queue and values[3] ~= filter.queue then
      return false
    end
  end
  return not (filter.text or filter.tag) or says(filter, id)
end

-- Those of the filter's ids that fit, in no order: id, side, time.
function Selection.named(filter, states)
  local wanted, found, seen = {}, {}, {}
  for _, state in ipairs(states) do wanted[state] = true end
  for _, id in ipairs(filter.ids) do
    local job = not seen[id] and Jobs.load(id)
    seen[id] = true
    if job and wanted[job.state] and (not filter.queue or job.queue == filter.queue) and fits(filter, id) then
      local side = FINAL[job.state] and 'final' or 'live'
      local time = job.finished_at or job.created_at
      local in_flow = not filter.flow
      for _, flow in ipairs(filter.flow and Flows.family(filter.flow) or {}) do
        in_flow = in_flow or job.flow == flow
      end
      local in_time = (not filter.since or time >= filter.since) and (not filter['until'] or time <= filter['until'])
      if in_flow and in_time then
        found[#found + 1] = { id = id, side = side, time = time }
      end
    end
  end
  return found
end

local function newer(one, two)
  if one.side ~= two.side then return one.side == 'live' end
  return before(two.time, two.id, one.time, one.id)
end

local function parse(cursor)
  local side, time, id = string.match(cursor, '^(%a+):(%-?%d+):(.*)$')
  return { side = side, time = tonumber(time), id = id }
end

local function text(place) return string.format('%s:%.0f:%s', place.side, place.time, place.id) end

-- Up to `limit` ids that fit, in one of the `states`, from the cursor on, of at most about `reach` that are looked at,
-- fewer where they are large; and where to go on, nil at the end. Where the filter names ids, all of them: whoever asks
-- names no more.
function Selection.walk(filter, states, limit, cursor, reach)
  local wanted, ids, last = {}, {}, nil
  for _, state in ipairs(states) do wanted[state] = true end
  local start = cursor and parse(cursor)
  if filter.ids then
    local found = Selection.named(filter, states)
    if not filter.loose then table.sort(found, newer) end
    for number, place in ipairs(found) do ids[number] = place.id end
    return ids, nil
  end
  for _, side in ipairs(Selection.SIDES) do
    if not (start and start.side == 'final' and side.name == 'live') then
      local from = start and start.side == side.name and start
      if filter['until'] and not (from and from.time <= filter['until']) then
        from = { time = filter['until'] + 1, id = '' }
      end
      local some = {}
      for _, state in ipairs(side.states) do
        if wanted[state] then some[#some + 1] = state end
      end
      local heap = {}
      for _, key in ipairs(keys_of(filter, some)) do
        local rank = from and Selection.rank_after(key, from.time, from.id) or 0
        local source = { key = key, buffer = {}, at = 1, rank = rank }
        if advance(source) then heap[#heap + 1] = source end
      end
      for place = math.floor(#heap / 2), 1, -1 do sink(heap, place) end
      while heap[1] do
        local source = heap[1]
        local place = { side = side.name, time = source.time, id = source.id }
        if filter.since and place.time < filter.since then break end
        if fits(filter, place.id) then
          if #ids == limit then return ids, text(last) end
          ids[#ids + 1], last = place.id, place
        end
        reach = reach - 1
        if reach <= read / PER_JOB then return ids, text(place) end
        if not advance(source) then
          heap[1] = heap[#heap]
          heap[#heap] = nil
        end
        sink(heap, 1)
      end
    end
  end
  return ids, nil
end
