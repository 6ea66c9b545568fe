-- needs: names index jobs keys gates edges flows
-- Takes before (state to the time before which its jobs are too old), limit, now. Gives how many jobs are gone.

local request = cjson.decode(ARGV[1])
local now, limit = clock(request.now), request.limit
local gone = 0
for state, keep_ms in pairs(request.keep_ms) do
  for _, queue in ipairs(call('SMEMBERS', Names.queues)) do
    if gone == limit then break end
    local listing = Names.listing(state, queue)
    local old = call('ZRANGEBYSCORE', listing, '-inf', '(' .. string.format('%.0f', now - keep_ms), 'LIMIT', 0, limit - gone)
    for _, id in ipairs(old) do
      local job = Jobs.load(id)
      if job then
        Keys.job_pruned(job)
        Jobs.delete(job)
        Edges.drop(job)
      else
        Index.take(listing, id)
      end
      gone = gone + 1
    end
  end
end
for _, name in ipairs(call('ZRANGEBYSCORE', Names.expiring, '-inf', now, 'LIMIT', 0, limit)) do
  Keys.forget(name, call('HGET', Names.key(name), 'job') or '')
end
Gates.finish()
Index.flush()
Flows.prune(limit)
Gates.prune(now, limit)
Index.finish()
return gone
