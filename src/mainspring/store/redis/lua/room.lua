-- needs: names gated
-- Room: queues and partitions that take only so many waiting jobs.

-- How many jobs wait in a partition.
local function waiting_in(queue, partition)
  local count = call('ZCARD', Names.order(queue, partition, ''))
  for _, task in ipairs(Gates.tasks()) do count = count + call('ZCARD', Names.order(queue, partition, task)) end
  if partition ~= '' then return count + call('ZCARD', Names.later(queue, partition)) end
  return count + call('ZCARD', Names.due(queue)) - call('ZCARD', Names.later(queue))
end

local rooms = {} -- by queue: limits, and how many wait there, of this request too
local partings = {}

local function room_of(queue)
  local room = rooms[queue]
  if not room then
    local set = call('HMGET', Names.queue(queue), 'max_queued', 'each.max_queued')
    room = { limit = tonumber(set[1]), each = tonumber(set[2]), places = {} }
    room.waiting = room.limit
      and call('ZCARD', Names.listing('queued', queue)) + call('ZCARD', Names.listing('scheduled', queue))
    rooms[queue] = room
  end
  return room
end

local function place_of(room, queue, partition)
  local place = room.places[partition]
  if not place then
    local own = call('HGET', Names.partition(queue, partition), 'max_queued')
    local limit = room.each
    if own then limit = tonumber(own) end
    place = { limit = limit, waiting = limit and waiting_in(queue, partition) }
    room.places[partition] = place
  end
  return place
end

local function is_partition(queue, partition)
  return partition ~= '' or partings[queue] or Gates.parted(queue)
end

-- Why there is no room for one more waiting job: queue, partition or false, limit; nil: there is. Where it comes `from`
-- another place, it needs none where it is already.
function Gates.full(new, from)
  if not Gates.is('room ' .. new.queue) then return nil end
  local queue, partition = new.queue, new.partition or ''
  local room, there = room_of(queue), from and from.queue == queue
  if room.limit and room.waiting >= room.limit and not there then return { queue, false, room.limit } end
  if is_partition(queue, partition) and not (there and from.partition == partition) then
    local place = place_of(room, queue, partition)
    if place.limit and place.waiting >= place.limit then return { queue, partition, place.limit } end
  end
  return nil
end

local function count(queue, partition, change)
  if not Gates.is('room ' .. queue) then return end
  local room = room_of(queue)
  if room.limit then room.waiting = room.waiting + change end
  local place = place_of(room, queue, partition)
  if place.limit then place.waiting = place.waiting + change end
end

-- One more is there; it waits unless it is blocked.
function Gates.waits(new, blocked)
  local partition = new.partition or ''
  if partition ~= '' then partings[new.queue] = true end
  if not blocked then count(new.queue, partition, 1) end
end

-- One that waits goes from one place to where a new one was to be.
function Gates.moves(new, from)
  count(from.queue, from.partition, -1)
  Gates.waits(new, false)
end
