-- needs: names index jobs keys gates ties flows insertion
-- Takes jobs, ticks, flows, all_or_none, now. Gives for each job, those of ticks that were won last, 0 (it is there
-- from now on) or {id, existed, rejected, full queue, full partition, limit}; or, where nothing is stored, {'refused',
-- the word, names ...}.

local request = cjson.decode(ARGV[1])
local now = clock(request.now)
Ends.jobs = 1000 -- here and not in more scripts: what is new has hardly ever children that hear of an end

Flows.offer(request.flows or {})
for _, new in ipairs(request.jobs or {}) do Insertion.judge(new, now, true) end
local won = {}
for _, tick in ipairs(request.ticks or {}) do
  local key = Names.schedule(tick.schedule)
  local stands = call('HMGET', key, 'next_at', 'paused_at')
  local next_at = won[tick.schedule] or (stands[1] and tonumber(stands[1]))
  if next_at == tick.expected_at and not stands[2] then
    won[tick.schedule] = tick.next_at
    Insertion.later(function()
      call('HSET', key, 'next_at', tick.next_at, 'last_at', tick.expected_at)
      Index.put(Names.ticks, tick.schedule, tick.next_at)
    end)
    for _, new in ipairs(tick.jobs or {}) do Insertion.judge(new, now, false) end
  end
end

local refused = Insertion.refused(request.all_or_none, true)
if refused then return refused end
Flows.keep(now)
local replies = Insertion.apply(now)
Edges.tie(now)
Edges.follow(now)
Gates.finish()
Index.finish()
return replies
