-- needs: names index
-- Gates: what a queue, a partition of it and a task let through.

local Gates = {}

-- The name of the lane of a task's jobs: its gate, or ''.
function Gates.of(task) return '' end

-- Whether a job outside of any partition has no places because of its queue or its task.
function Gates.plain(queue, task) return true end

-- Write the places that a job has because of its partition and its task's gate.
function Gates.places(job, write, at) end

-- A job has come to, or left, its partition.
function Gates.touch(job) end

-- A new job may be the first in a partition of its queue.
function Gates.part(job) end

-- What a claim has to know of a queue: paused?, concurrency (or nil), whether it is served by turns.
function Gates.look(queue)
  local set = call('HMGET', Names.queue(queue), 'paused_at', 'concurrency')
  return { paused = set[1] and true, concurrency = set[2] and tonumber(set[2]), by_turns = false }
end

-- Why there is no room for one more waiting job: queue, partition or false, limit; nil: there is.
function Gates.full(new) return nil end
-- One more will wait there.
function Gates.waits(new) end

-- For so long nothing starts through the narrowest gate of a job that has a rate.
function Gates.close(job, until_) end

-- Partitions of which nothing is left go.
function Gates.prune(now, limit) end

-- The end of a script: partitions that were touched are looked at by the next claim.
function Gates.finish() end
