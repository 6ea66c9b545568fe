-- needs: names index
-- Flows: jobs that belong together.

local Flows = {}

-- Flows that are to be, if all goes well.
function Flows.offer(flows) end

-- A flow and those that are a part of it.
function Flows.family(id) return { id } end

-- Flows of which nothing is left go.
function Flows.prune(limit) end

-- They are, from now on.
function Flows.keep(now) end
