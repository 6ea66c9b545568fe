-- needs: names index flows
-- Takes flow (that one alone) or limit and cursor. Gives {rows, cursor or nil}.

local request = cjson.decode(ARGV[1])
if request.flow then return { { Flows.row(request.flow) }, false } end
local rows, cursor = Flows.page(request.limit, request.cursor)
return { rows, cursor or false }
