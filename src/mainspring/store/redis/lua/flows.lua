-- needs: names index
-- Flows: jobs that belong together.

local Flows = {}

-- Flows that are to be, if all goes well.
function Flows.offer(flows) end

-- They are, from now on.
function Flows.keep(now) end
