-- needs: names index jobs keys gates ties
-- New jobs, judged one after the other as if each were inserted alone, before anything is written: a script that has
-- begun to write cannot take it back.

local Insertion = {}

local new_jobs, replies, steps = {}, {}, {}
local known = {} -- new jobs of this request, by id
local instead = {} -- by id of a job that was turned away: the job that is there in its place
local places = {} -- where jobs are, or will be, whose place others take or may take: queue, partition, blocked
local taken = {} -- keys, by name, as they will be held

local function holder(name, now) return taken[name] or Keys.holder(name, now) end

-- The names under which a key can be held.
local function names_of(key)
  if not key.seats or key.seats == 1 then return { key.name } end
  local names = {}
  for seat = 1, key.seats do names[seat] = key.name .. '#' .. seat end
  return names
end

-- A free seat for each key of a job; else nil and the first key that has none. A key that is named twice is taken once.
local function seats(new, now)
  local seated, got = {}, {}
  for _, key in ipairs(new.keys or {}) do
    local free, twice
    for _, name in ipairs(names_of(key)) do
      if got[name] then twice = true end
      if not free and not holder(name, now) then free = name end
    end
    if not twice then
      if not free then return nil, key end
      got[free] = true
      seated[#seated + 1] = { name = free, key = key }
    end
  end
  return seated
end

local function run_at(new, now) return new.run_at or now + (new.delay_ms or 0) end

-- The job that holds a key longest: of equals, the one on the last seat.
local function last_holder(key, now)
  local names, longest = names_of(key), nil
  for number = #names, 1, -1 do
    local held = holder(names[number], now)
    if held and (not longest or (held.expires_at or math.huge) > (longest.expires_at or math.huge)) then
      longest = held
    end
  end
  return longest
end

-- The new job's arguments, place, cost, priority, options and time take the place of a waiting holder's, and of what it
-- has saved.
local function replace(new, key, holder_id, now)
  table.insert(steps, function()
    local job = Jobs.load(holder_id)
    local queue, partition = new.queue, new.partition or ''
    if job.queue ~= queue or job.partition ~= partition then
      -- The sequence that it was in goes on without it.
      local name = Keys.of_sequence(job.queue, job.partition)
      if job.keys and call('HGET', Names.key(name), 'job') == job.id then Keys.forget(name, job.id) end
      call('SADD', Names.queues, queue)
      Gates.part(new)
    end
    local at = run_at(new, now)
    if key.max_delay_ms then at = math.min(at, job.created_at + key.max_delay_ms) end
    local state = job.state == 'blocked' and 'blocked' or Jobs.due_state(at, now)
    Jobs.move(job, state, {
      args = new.args or false, queue = queue, partition = partition ~= '' and partition or false,
      cost = new.cost or false, priority = new.priority or false, options = new.options or false, run_at = at,
      checkpoint = false,
    })
  end)
end

-- The holder is to go to where the new job was to be. Gives why it may not; nil: it may.
local function move(new, holder_id, limited)
  local place = places[holder_id]
  if not place then
    local job = known[holder_id] or Jobs.load(holder_id)
    local blocked = job.blocked
    if not known[holder_id] then blocked = job.state == 'blocked' end
    place = { queue = job.queue, partition = job.partition or '', blocked = blocked }
    places[holder_id] = place
  end
  local full = limited and not place.blocked and Gates.full(new, place)
  if full then return full end
  if not place.blocked then Gates.moves(new, place) end
  place.queue, place.partition = new.queue, new.partition or ''
end

local function reply(new, id, existed, rejected, full)
  replies[#replies + 1] = full and { id, 0, false, unpack(full) } or { id, existed, rejected or false }
  if id ~= new.id then instead[new.id] = id end
end

-- What is to become of one new job; `limited`: only where there is room for it.
function Insertion.judge(new, now, limited)
  if known[new.id] or call('EXISTS', Names.job(new.id)) == 1 then return reply(new, new.id, 1) end
  local seated, key = seats(new, now)
  if not seated then
    local held = last_holder(key, now)
    if key.on_conflict == 'reject' then return reply(new, held.job, 1, key.name) end
    local job = not known[held.job] and Jobs.load(held.job)
    if key.on_conflict == 'replace' and (known[held.job] or (job and WAITING[job.state])) then
      local full = move(new, held.job, limited)
      if full then return reply(new, new.id, 0, false, full) end
      replace(new, key, held.job, now)
    end
    return reply(new, held.job, 1)
  end
  local full = limited and Gates.full(new)
  if full then return reply(new, new.id, 0, false, full) end
  for _, seat in ipairs(seated) do
    local expires_at = seat.key.expires_ms and now + seat.key.expires_ms
    seat.expires_at = expires_at
    taken[seat.name] = { job = new.id, ends = seat.key['until'] or 'settled', expires_at = expires_at }
  end
  local blocked = Edges.blocks(new)
  Gates.waits(new, blocked)
  known[new.id] = new
  new.blocked = blocked
  new_jobs[#new_jobs + 1] = new
  replies[#replies + 1] = limited and 0 or { new.id, 0, false }
  table.insert(steps, function()
    local at = run_at(new, now)
    local job = Jobs.create(new, blocked and 'blocked' or Jobs.due_state(at, now), at, now)
    for _, seat in ipairs(seated) do
      Keys.take(job, seat.name, seat.key['until'] or 'settled', seat.expires_at)
    end
  end)
end

-- Something else to be done in its turn.
function Insertion.later(step) table.insert(steps, step) end

-- Why nothing may be stored; nil: all is well. Where not `strict`, a parent that is not there counts as deleted.
function Insertion.refused(all_or_none, strict)
  for _, each in ipairs(all_or_none and replies or {}) do
    if each ~= 0 and each[3] then return { 'refused', 'duplicate', each[1], each[3] } end
    if each ~= 0 and each[4] then return { 'refused', 'full', each[4], each[5], each[6] } end
  end
  local why = Edges.plan(new_jobs, known, instead, strict)
  return why and { 'refused', unpack(why) }
end

function Insertion.apply()
  for _, step in ipairs(steps) do step() end
  return replies
end
