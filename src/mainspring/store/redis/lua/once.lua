-- needs: names
-- A request that is sent again, since its reply was lost, is given the reply that it has had, and changes nothing more.
-- It says by `request` who it is; what it was told is kept for longer than anybody goes on trying.

local Once = {}
local KEPT_MS = 15000

-- What the request was told before; nil: nothing.
function Once.told(request)
  local reply = request.request and call('GET', Names.reply(request.request))
  return reply and cjson.decode(reply) or nil
end

-- Tell it so, now and when it comes again.
function Once.tell(request, reply)
  if request.request then call('SET', Names.reply(request.request), cjson.encode(reply), 'PX', KEPT_MS) end
  return reply
end
