-- Whether scripts run here.
-- takes {}; gives the time in milliseconds; touches nothing
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)
