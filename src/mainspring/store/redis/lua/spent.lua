-- needs: names
-- What has started through one gate, as far as its rates look back: the arithmetic of `Spent` in model/limits.py, and
-- tested against it. Rates are pairs of limit and length in milliseconds; a gate's memory is text, JSON of buckets by
-- length.

local Spent = {}
local BUCKETS = 100

local function width(per_ms) return math.ceil(per_ms / BUCKETS) end

-- The buckets of one length that count still. A length that is new takes over what the longest one knows.
local function recent(per_ms, stored, now)
  local known = stored[per_ms] and per_ms
  if not known then
    for length in pairs(stored) do known = math.max(known or 0, length) end
  end
  local buckets, total = {}, 0
  for _, bucket in ipairs(known and stored[known] or {}) do
    local last = (bucket[1] + 1) * width(known) - 1
    local number = math.floor(math.min(last, now) / width(per_ms))
    if (number + 1) * width(per_ms) > now - per_ms then
      buckets[number] = (buckets[number] or 0) + bucket[2]
      total = total + bucket[2]
    end
  end
  return { per_ms = per_ms, buckets = buckets, total = total }
end

function Spent.new(rates, text, now)
  local stored = {}
  for per_ms, buckets in pairs(text and cjson.decode(text) or {}) do stored[tonumber(per_ms)] = buckets end
  local spent = { rates = rates, now = now, lengths = {}, of = {} }
  for _, rate in ipairs(rates) do
    local per_ms = rate[2]
    if not spent.of[per_ms] then
      spent.of[per_ms] = recent(per_ms, stored, now)
      spent.lengths[#spent.lengths + 1] = spent.of[per_ms]
    end
  end
  return spent
end

-- How much more may start now.
function Spent.left(spent)
  local left = math.huge
  for _, rate in ipairs(spent.rates) do left = math.min(left, math.max(0, rate[1] - spent.of[rate[2]].total)) end
  return left
end

-- What a job of that cost counts: one that costs more than a rate allows at all takes all of it.
function Spent.price(spent, cost)
  for _, rate in ipairs(spent.rates) do cost = math.min(cost, rate[1]) end
  return cost
end

local function in_order(buckets)
  local numbers = {}
  for number in pairs(buckets) do numbers[#numbers + 1] = number end
  table.sort(numbers)
  return numbers
end

local function frees_at(spent, rate, price)
  local length = spent.of[rate[2]]
  local over = length.total + price - rate[1]
  if over <= 0 then return spent.now end
  for _, number in ipairs(in_order(length.buckets)) do
    over = over - length.buckets[number]
    if over <= 0 then return (number + 1) * width(rate[2]) + rate[2] end
  end
  return spent.now
end

-- When a job of that cost may start, if nothing else does before.
function Spent.opens_at(spent, cost)
  local at, price = spent.now, Spent.price(spent, cost)
  for _, rate in ipairs(spent.rates) do at = math.max(at, frees_at(spent, rate, price)) end
  return at
end

-- So much starts now.
function Spent.add(spent, price)
  for _, length in ipairs(spent.lengths) do
    local number = math.floor(spent.now / width(length.per_ms))
    length.buckets[number] = (length.buckets[number] or 0) + price
    length.total = length.total + price
  end
end

-- What to keep.
function Spent.to_text(spent)
  local lengths = {}
  for _, length in ipairs(spent.lengths) do
    local buckets = {}
    for _, number in ipairs(in_order(length.buckets)) do
      buckets[#buckets + 1] = string.format('[%.0f,%.0f]', number, length.buckets[number])
    end
    lengths[#lengths + 1] = string.format('"%.0f":[%s]', length.per_ms, table.concat(buckets, ','))
  end
  return '{' .. table.concat(lengths, ',') .. '}'
end
