-- needs: names index jobs keys
-- Edges: children wait for parents, and go down or come back with them.

local Edges = {}

-- Whether a new job is blocked from the start.
function Edges.blocks(new) return new.parents ~= nil end

-- Look at the edges of new jobs before anything is written. `instead` says which job there is in place of one that a key
-- turned away. Gives why they cannot be: the word for it and the names; nil: they can.
function Edges.plan(new, instead, strict) return nil end

-- Write what was planned, after the jobs themselves.
function Edges.tie(now) end

-- A job has ended, or is gone before its end: its children hear of it.
function Edges.tell(job, deleted) end

-- What becomes of all who were told.
function Edges.follow(now) end

-- The job is gone: nobody asks any more for whom it waited.
function Edges.drop(job) end

-- These jobs run again: who waits for them waits anew, who went down with them comes back. Gives, as a set, those of them that
-- went down with others of them, and so wait for these again.
function Edges.reopen(jobs, now) return {} end

-- The parents of a job as its child sees them: rows of id, policy, state, result, reason.
function Edges.parents(job) return nil end
