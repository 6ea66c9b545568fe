-- needs: names spent
-- One gate at one time: what it lets through, less what has been taken of it since.

local Gate = {}
local NO_RATES = {}

local function rates_of(text)
  if not text or text == 'none' then return NO_RATES end
  return cjson.decode(text)
end

-- `slots`: how many more may run; nil: any number. The others are as they are kept.
function Gate.new(slots, rates, closed_until, spent, now)
  local until_ = tonumber(closed_until or 0)
  local gate = {
    slots = slots and math.max(0, slots), closed_until = until_ > now and until_ or nil, left = math.huge, now = now,
    kept_until = until_,
  }
  rates = rates_of(rates)
  if #rates > 0 then
    gate.spent = Spent.new(rates, spent, now)
    gate.left = Spent.left(gate.spent)
  end
  return gate
end

function Gate.passes(gate, cost)
  if gate.slots == 0 or gate.closed_until then return false end
  return not gate.spent or Spent.price(gate.spent, cost) <= gate.left
end

-- When time lets such a job through; nil: not time alone.
function Gate.opens_at(gate, cost)
  if gate.entering then return gate.now end
  if gate.slots == 0 then return nil end
  return math.max(gate.closed_until or 0, gate.spent and Spent.opens_at(gate.spent, cost) or 0)
end

-- A job of that cost starts.
function Gate.take(gate, cost)
  if gate.slots then gate.slots = gate.slots - 1 end
  if gate.spent then
    local price = Spent.price(gate.spent, cost)
    gate.left = gate.left - price
    Spent.add(gate.spent, price)
    gate.changed = true
  end
end

-- What to keep of what has started; false: it is as it was.
function Gate.kept(gate)
  if not gate.changed then return false end
  gate.changed = false
  return Spent.to_text(gate.spent)
end

-- When its memory may be forgotten: what started last is out of sight then, and it is open again.
function Gate.counts_until(gate)
  local longest = 0
  for _, length in ipairs(gate.spent and gate.spent.lengths or {}) do longest = math.max(longest, length.per_ms) end
  return math.max(gate.kept_until, longest > 0 and gate.now + 2 * longest or 0)
end
