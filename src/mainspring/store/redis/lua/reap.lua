-- needs: names index jobs keys gates edges ends revival claims
-- Takes worker, limit, now. Gives rows of claims whose worker is gone, leased anew to the caller.

local request = cjson.decode(ARGV[1])
local now, caller, limit = clock(request.now), request.worker, request.limit

local function alive(worker) return tonumber(call('ZSCORE', Names.workers, worker) or 0) > now end

local rows = {}
local may = alive(caller)
for _, owner in ipairs(call('ZRANGE', Names.owners, 0, -1)) do
  if not alive(owner) then
    local running = Names.running_by(owner)
    for _, id in ipairs(may and #rows < limit and call('ZRANGE', running, 0, limit - #rows - 1) or {}) do
      local row, job = Claims.running(id, false)
      rows[#rows + 1] = row
      call('HSET', Names.job(id), 'lease', job.lease + 1, 'worker', caller)
      call('ZADD', Names.running_by(caller), job.created_at, id)
      call('ZREM', running, id)
    end
    if call('EXISTS', running) == 0 then call('ZREM', Names.owners, owner) end
  end
end
if #rows > 0 then call('ZADD', Names.owners, 0, caller) end
for _, worker in ipairs(call('ZRANGEBYSCORE', Names.workers, '-inf', now)) do
  if not call('ZSCORE', Names.owners, worker) then
    call('ZREM', Names.workers, worker)
    call('DEL', Names.worker(worker))
  end
end
Edges.go_on(now)
Gates.finish()
Index.finish()
return rows
