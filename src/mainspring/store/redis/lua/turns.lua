-- needs: names index jobs gates
-- A queue with more than slots to look at is served by turns.

local Turns = {}

-- Give up to `limit` jobs of a queue, one after the other, by `give(id)`.
function Turns.serve(queue, limit, now, give) end

-- When time gives the queue something to claim; nil: not time alone.
function Turns.opens_at(queue, now) return nil end
