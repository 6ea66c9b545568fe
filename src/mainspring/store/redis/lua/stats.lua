-- needs: names
-- Statistics: a cell is a hash of numbers that add up, about one task in one queue in one stretch of time. Those of one
-- stretch are found by a set, the stretches of one length by a sorted set.

local Stats = { MINUTE = 60000 }

-- The key of a cell that is written to, and found from now on.
function Stats.cell(step, at, queue, task)
  at = string.format('%.0f', at - at % step)
  call('SADD', Names.stats_at(step, at), queue .. '\0' .. task)
  call('ZADD', Names.stats_times(step), at, at)
  return Names.stats(step, at, queue, task)
end

-- So many things happened to jobs just now.
function Stats.count(event, queue, task, now, number)
  local at = string.format('%.0f', now - now % Stats.MINUTE)
  -- The first of its kind in a minute: the cell may be new.
  if call('HINCRBY', Names.stats(Stats.MINUTE, at, queue, task), event, number) == number then
    Stats.cell(Stats.MINUTE, now, queue, task)
  end
end
