-- needs: names stats
-- Takes rolls (step, into or nil, before): cells of that step that begin before that time are added to those of longer
-- stretches, or deleted; limit. Gives how many.

local request = cjson.decode(ARGV[1])
local done = 0

local function roll(step, into, at)
  local members = call('SPOP', Names.stats_at(step, at), request.limit - done)
  for _, member in ipairs(members) do
    local queue, task = string.match(member, '^(%Z*)%z(%Z*)$')
    local key = Names.stats(step, at, queue, task)
    if into then
      local numbers = call('HGETALL', key)
      local cell = #numbers > 0 and Stats.cell(into, tonumber(at), queue, task)
      for number = 1, #numbers, 2 do call('HINCRBY', cell, numbers[number], numbers[number + 1]) end
    end
    call('DEL', key)
    done = done + 1
  end
  if call('EXISTS', Names.stats_at(step, at)) == 0 then call('ZREM', Names.stats_times(step), at) end
end

for _, each in ipairs(request.rolls) do
  local before = '(' .. string.format('%.0f', each.before)
  for _, at in ipairs(call('ZRANGEBYSCORE', Names.stats_times(each.step), '-inf', before)) do
    if done >= request.limit then break end
    roll(each.step, each.into, at)
  end
end
if done > 0 then call('INCR', Names.stats_rolled) end
return done
