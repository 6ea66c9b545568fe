-- needs: names
-- The audit log: an entry for each action of an operator.

local Audit = {}
local FIELDS = { 'actor', 'action', 'target', 'detail' }

-- Of one that is there already only the count rises.
function Audit.write(entry, count, now)
  local key = Names.audit_entry(entry.id)
  if call('ZADD', Names.audit, 'NX', now, entry.id) == 1 then
    for _, field in ipairs(FIELDS) do call('HSET', key, field, entry[field]) end
  end
  local there = count and tonumber(call('HGET', key, 'count') or -1)
  if count and count > there then call('HSET', key, 'count', count) end
end

-- Up to `limit` entries, newest first, from those before the place `before` (time and id) on.
function Audit.page(limit, before)
  local rows, from = {}, 0
  local top = before and string.format('%.0f', before[1]) or '+inf'
  while #rows < limit do
    local some = call('ZREVRANGEBYSCORE', Names.audit, top, '-inf', 'WITHSCORES', 'LIMIT', from, limit)
    for number = 1, #some, 2 do
      local id, at = some[number], tonumber(some[number + 1])
      if #rows < limit and (not before or at < before[1] or bytes_before(id, before[2])) then
        local row = call('HMGET', Names.audit_entry(id), 'actor', 'action', 'target', 'detail', 'count')
        rows[#rows + 1] = { id, row[1], row[2], row[3], row[4], tonumber(row[5]) or false, at }
      end
    end
    if #some < 2 * limit then break end
    from = from + limit
  end
  return rows
end

-- At most `limit` of those that were written before that time go, the oldest first.
function Audit.prune(before, limit)
  for _, id in ipairs(call('ZRANGEBYSCORE', Names.audit, '-inf', string.format('(%.0f', before), 'LIMIT', 0, limit)) do
    call('ZREM', Names.audit, id)
    call('DEL', Names.audit_entry(id))
  end
end
