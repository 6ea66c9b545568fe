-- needs: names index jobs keys edges
-- Ends: a job has ended, and its children hear of it; they are released, or cancelled, which their own children hear
-- of.
--
-- What is said is gathered, and taken in generation by generation, so that depth costs no recursion, and a child that
-- hears of many parents is written once. One script does so for a set number of children; the rest is written down, and
-- done by the next scripts of whoever began it, and of any worker.

-- How many children, and edges, a script may still tell; whether it left something to others.
local Ends = { jobs = 250, edges = 2000, left = false }
local heard, hearing = {}, {} -- by child: the ends that it has to take in; and the children
local met = {} -- children, by id, that were told something
local touched, falling, hoping, told = {}, {}, {}, {}

-- What is left to the next scripts, in this order: children that are to wait for a job anew (who was revived may have
-- ended again), those that are to hear how it ended, and one that a dead parent releases, if nothing else cancels it.
local LATER = { open = 0, tell = 1, free = 2 }

-- The next scripts do this about a job, whose queue's workers are told to look again.
function Ends.leave(what, id, queue)
  call('ZADD', Names.unfinished, LATER[what], what .. ' ' .. id)
  Index.hint('queue:' .. queue)
  Ends.left = true
end

-- Whether there are children that still have to be told that this job runs again.
local function opening(parent)
  if Ends.opening == nil then Ends.opening = call('ZCOUNT', Names.unfinished, 0, 0) > 0 end
  return Ends.opening and call('ZSCORE', Names.unfinished, 'open ' .. parent)
end

-- The children of a parent hear how it ended: state, reason, result (nil: its hash has it), queue.
local function spread(parent, ending)
  ending.parent = parent
  local key, all = Names.children(parent), false
  while not all and Ends.jobs > 0 and Ends.edges > 0 do
    local asked = math.min(Ends.jobs, Ends.edges)
    local children = call('SPOP', key, asked)
    for _, child in ipairs(children) do
      if not heard[child] then
        heard[child] = {}
        hearing[#hearing + 1] = child
      end
      table.insert(heard[child], ending)
      if not met[child] then
        met[child] = true
        Ends.jobs = Ends.jobs - 1
      end
    end
    Ends.edges = Ends.edges - #children
    all = #children < asked
  end
  if (all or call('EXISTS', key) == 0) and not opening(parent) then return end
  call('HSET', Names.ended(parent), 'state', ending.state, 'queue', ending.queue)
  if ending.reason then call('HSET', Names.ended(parent), 'reason', ending.reason) end
  local result = Ends.result(ending)
  if result then call('HSET', Names.ended(parent), 'result', result) end
  Ends.leave('tell', parent, ending.queue)
end

function Ends.of(job, deleted)
  if deleted then return { state = 'deleted', reason = 'deleted', result = false, queue = job.queue } end
  return { state = job.state, reason = job.reason, queue = job.queue }
end

function Ends.result(ending)
  if ending.state ~= 'completed' then return false end
  if ending.result == nil then ending.result = call('HGET', Names.job(ending.parent), 'result') end
  return ending.result
end

-- A job has ended, or is gone before its end: its children hear of it.
function Edges.tell(job, deleted) spread(job.id, Ends.of(job, deleted)) end

-- Something about this job's edges has changed.
function Ends.touch(job)
  if not job.stand.touched then
    job.stand.touched = true
    touched[#touched + 1] = job
  end
end

local WORDS = { dead = ' is dead', cancelled = ' was cancelled', deleted = ' was deleted' }

-- An edge of a child has ended like that.
function Ends.close(job, edge, ending)
  local parent, stand = ending.parent, Edges.stand(job)
  edge.state = ending.state
  if edge.state == 'completed' then
    edge.text = edge.wants and Ends.result(ending) or nil
  else
    edge.text = ending.reason
  end
  Ends.touch(job)
  if not Edges.minds(job) then return end
  told[#told + 1] = { parent, job }
  if edge.policy == 'fail' and edge.state ~= 'completed' then
    call('ZADD', Names.bad(job.id), edge.place, parent)
    if job.state == 'blocked' then
      if not stand.bad_place then falling[#falling + 1] = job end
      if not stand.bad_place or edge.place < stand.bad_place then
        stand.bad_place, stand.why = edge.place, 'parent ' .. parent .. WORDS[edge.state]
      end
    end
  elseif edge.policy == 'dead' and edge.state == 'dead' then
    call('SADD', Names.dead(job.id), parent)
    stand.fired = true
  end
  if stand.hopes then hoping[#hoping + 1] = job end
end

-- A child takes in what it has heard.
local function take_in(id, endings)
  local job = Jobs.load(id)
  if not job then return end
  local key, stand = Names.parents(id), Edges.stand(job)
  for from = 1, #endings, 1000 do
    local names, fields = {}, {}
    for number = from, math.min(from + 999, #endings) do names[#names + 1] = endings[number].parent end
    for number, text in ipairs(call('HMGET', key, unpack(names))) do
      local edge = text and Edges.read(text)
      if edge and edge.state == '-' then
        stand.open = stand.open - 1
        Ends.close(job, edge, endings[from + number - 1])
        fields[#fields + 1] = names[number]
        fields[#fields + 1] = Edges.write(edge)
      end
    end
    if #fields > 0 then call('HSET', key, unpack(fields)) end
  end
end

local function cancel(job, reason, now)
  Jobs.move(job, 'cancelled', { finished_at = now, reason = reason, parents = Edges.sum(job.stand) })
  Stats.count('cancelled', job.queue, job.task, now, 1)
  Keys.job_ended(job)
  if job.children then Edges.tell(job, false) end
end

-- All who have lost a parent that they need go down at once, and whoever hears of that is the next generation.
local function fall(now)
  local generation = falling
  falling = {}
  for _, job in ipairs(generation) do
    job.stand.felled = true
    cancel(job, job.stand.why, now)
  end
end

-- Who waited for a dead parent, and none is, goes down too.
local function give_up(now)
  local generation = hoping
  hoping = {}
  for _, job in ipairs(generation) do
    local stand = job.stand
    if job.state == 'blocked' and stand.open == 0 and not stand.fired
      and call('EXISTS', Names.dead(job.id), Names.outlived(job.id)) == 0 then
      cancel(job, 'no parent is dead', now)
    end
  end
end

local function all_told() return call('ZCOUNT', Names.unfinished, LATER.open, LATER.tell) == 0 end

-- Who neither goes down nor has anything to wait for is released. A dead parent does so only when nothing is left that
-- could still take him down.
local function release(now)
  for _, job in ipairs(touched) do
    local stand = job.stand
    stand.touched = nil
    local early = stand.fired and stand.open > 0
    if not Jobs.load(job.id) then
      -- Deleted by this very request.
    elseif job.state == 'blocked' and (stand.open == 0 or (early and all_told())) then
      local run_at = math.max(job.run_at, now)
      Jobs.move(job, Jobs.due_state(run_at, now), { run_at = run_at, parents = Edges.sum(stand) })
    else
      if job.state == 'blocked' and early then Ends.leave('free', job.id, job.queue) end
      if job.parents ~= Edges.sum(stand) then Jobs.write(job, { parents = Edges.sum(stand) }) end
    end
  end
  touched = {}
end

-- Those who may wait anew for a parent are known to it.
local function remember()
  local children = {}
  for _, each in ipairs(told) do
    local parent, job = each[1], each[2]
    if Edges.minds(job) then
      children[parent] = children[parent] or {}
      table.insert(children[parent], job.id)
    end
  end
  for parent, ids in pairs(children) do in_pieces('SADD', Names.told(parent), ids) end
  told = {}
end

-- What becomes of all who were told. Who goes down does so first, all the way: nobody is released in a request that
-- cancels him.
function Edges.follow(now)
  if #hearing == 0 and #touched == 0 then return end
  while #hearing > 0 or #falling > 0 or #hoping > 0 do
    local children = hearing
    hearing = {}
    for _, child in ipairs(children) do
      local endings = heard[child]
      heard[child] = nil
      take_in(child, endings)
    end
    if #falling > 0 then fall(now) else give_up(now) end
  end
  release(now)
  remember()
end

-- How a job ended whose children have not all heard of it.
local function left(parent)
  local values = call('HMGET', Names.ended(parent), 'state', 'reason', 'result', 'queue')
  call('DEL', Names.ended(parent))
  return values[1] and { state = values[1], reason = values[2] or nil, result = values[3], queue = values[4] }
end

local Later = {}

function Later.open(parent, now) Edges.open({ parent }, now) end

function Later.tell(parent)
  local ending = left(parent)
  if ending then spread(parent, ending) end
end

function Later.free(child)
  local job = Jobs.load(child)
  if not job or job.state ~= 'blocked' then return end
  Edges.stand(job).fired = call('EXISTS', Names.dead(child)) == 1
  Ends.touch(job)
end

-- Go on with what earlier scripts have left.
function Edges.go_on(now)
  local item = call('ZPOPMIN', Names.unfinished)
  while item[1] do
    local what, id = string.match(item[1], '^(%a+) (.*)$')
    Later[what](id, now)
    if what == 'free' then Ends.jobs = Ends.jobs - 1 end
    item = Ends.jobs > 0 and Ends.edges > 0 and call('ZPOPMIN', Names.unfinished) or {}
  end
  Edges.follow(now)
end

-- A job of this id is to have children again, or runs again: what is left of an end of it goes first, or is over.
function Ends.forget(parent, over)
  if call('ZREM', Names.unfinished, 'tell ' .. parent) == 0 then return end
  local ending = left(parent)
  if ending and not over then
    local jobs, edges = Ends.jobs, Ends.edges
    Ends.jobs, Ends.edges = 1e6, 1e6
    spread(parent, ending)
    Ends.jobs, Ends.edges = jobs, edges
  end
end
