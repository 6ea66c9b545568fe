-- What waits for what. A child is blocked until its edges say otherwise; see statements.sql for how these are written.

-- name: add_flows
-- Takes :doc (NewFlow), :now. What is there already stays.
INSERT INTO mainspring_flows (id, name, parent, created_at, callbacks)
SELECT json_extract(value, '$.id'), json_extract(value, '$.name'), json_extract(value, '$.parent'), :now,
       json_extract(value, '$.callbacks')
FROM json_each(:doc) WHERE true
ON CONFLICT (id) DO NOTHING;

-- name: hold_jobs
-- Takes :doc (ids of jobs that are there). They stay as they are meanwhile: nobody else writes.
SELECT value FROM json_each(:doc);

-- name: callbacks_of
-- Takes :doc (flow ids). Gives each with, one by one, the callbacks of it and of all flows that it is a part of: flow,
-- the flow whose callback it is, job, policy, waiting? One that went down with a member may come back, and then waits
-- for those too that came meanwhile.
WITH RECURSIVE above (flow, id) AS (
    SELECT value, value FROM json_each(:doc)
    UNION
    SELECT above.flow, own.parent
    FROM above CROSS JOIN mainspring_flows AS own ON own.id = above.id WHERE own.parent IS NOT NULL
)
SELECT above.flow, above.id, json_extract(c.value, '$.job'), json_extract(c.value, '$.policy'),
       EXISTS (SELECT 1 FROM mainspring_jobs WHERE id = json_extract(c.value, '$.job') AND +state = 'blocked')
           OR EXISTS (SELECT 1 FROM mainspring_edges INDEXED BY mainspring_edges_broke
                      WHERE child = json_extract(c.value, '$.job') AND broke)
FROM above CROSS JOIN mainspring_flows AS own ON own.id = above.id CROSS JOIN json_each(own.callbacks) AS c;

-- name: block
-- Takes :doc (ids).
UPDATE mainspring_jobs SET state = 'blocked'
WHERE id IN (SELECT value FROM json_each(:doc)) AND +state IN ('queued', 'scheduled');

-- name: add_edges
-- Takes :doc (child, parent, place, policy, wants, gone?). An edge of a parent that has ended is ended from the start.
INSERT INTO mainspring_edges (child, parent, place, policy, wants, state, result, reason)
SELECT json_extract(n.value, '$[0]'), json_extract(n.value, '$[1]'),
       json_extract(n.value, '$[2]') + coalesce(
           (SELECT max(place) + 1 FROM mainspring_edges WHERE child = json_extract(n.value, '$[0]')), 0
       ),
       json_extract(n.value, '$[3]'), json_extract(n.value, '$[4]'),
       CASE WHEN json_extract(n.value, '$[5]') THEN 'cancelled' ELSE f.state END,
       CASE WHEN json_extract(n.value, '$[4]') AND f.state = 'completed' THEN f.result END,
       CASE WHEN json_extract(n.value, '$[5]') THEN 'deleted' WHEN f.state <> 'completed' THEN f.reason END
FROM json_each(:doc) AS n LEFT JOIN mainspring_finished AS f ON f.id = json_extract(n.value, '$[1]')
WHERE true
ON CONFLICT (parent, child) DO NOTHING;

-- name: circles
-- Takes :doc (ids). Gives those that wait, by way of others, for themselves.
WITH RECURSIVE waits (start, job) AS (
    SELECT value, value FROM json_each(:doc)
    UNION
    SELECT waits.start, e.child FROM waits CROSS JOIN mainspring_edges AS e ON e.parent = waits.job
    WHERE e.state IS NULL
)
SELECT waits.start
FROM waits CROSS JOIN mainspring_edges AS e ON e.parent = waits.job AND e.child = waits.start
WHERE e.state IS NULL;

-- name: ended_edges
-- Takes :doc (ids of children). Gives child, parent, policy, state of their edges whose parents have ended.
SELECT e.child, e.parent, e.policy, e.state
FROM json_each(:doc) AS c CROSS JOIN mainspring_edges AS e ON e.child = c.value
WHERE e.state IS NOT NULL;

-- name: end_edges
-- Takes :doc (ids of jobs that have ended). Gives child, parent, policy, state.
UPDATE mainspring_edges
SET state = f.state,
    result = CASE WHEN wants AND f.state = 'completed' THEN f.result END,
    reason = CASE WHEN f.state <> 'completed' THEN f.reason END
FROM json_each(:doc) AS p CROSS JOIN mainspring_finished AS f ON f.id = p.value
WHERE mainspring_edges.parent = p.value AND mainspring_edges.state IS NULL
RETURNING child, parent, policy, state;

-- name: lose_edges
-- Takes :doc (ids of jobs that were deleted before they had ended). Gives child, parent, policy, state.
UPDATE mainspring_edges SET state = 'cancelled', reason = 'deleted'
WHERE parent IN (SELECT value FROM json_each(:doc)) AND state IS NULL
RETURNING child, parent, policy, state;

-- name: falling
-- Takes :doc (ids of children of whose FAIL edges one broke). Gives child, parent, place, state of all FAIL edges of
-- those among them that are blocked, and of all that fall with them.
WITH RECURSIVE falling (job) AS (
    SELECT j.id FROM json_each(:doc) AS c CROSS JOIN mainspring_jobs AS j ON j.id = c.value WHERE +j.state = 'blocked'
    UNION
    SELECT j.id
    FROM falling CROSS JOIN mainspring_edges AS e ON e.parent = falling.job
                 CROSS JOIN mainspring_jobs AS j ON j.id = e.child
    WHERE e.state IS NULL AND e.policy = 'fail' AND +j.state = 'blocked'
)
SELECT e.child, e.parent, e.place, e.state
FROM falling CROSS JOIN mainspring_edges AS e ON e.child = falling.job
WHERE e.policy = 'fail';

-- name: fell
-- Takes :doc (id, reason), :now. Copies blocked jobs to the finished ones. Gives the queue and task of each.
INSERT INTO mainspring_finished
SELECT j.id, j.task, j.queue, 'cancelled', j.args, j.priority, j.attempt, j.crashes, j.postponed, j.lease, j.created_at,
       j.run_at, j.started_at, :now, j.worker, j.cancel_requested, j.progress, j.progress_text, NULL, j.error,
       json_extract(r.value, '$[1]'), j.history, j.options, j.partition, j.cost, j.flow, j.checkpoint
FROM json_each(:doc) AS r CROSS JOIN mainspring_jobs AS j ON j.id = json_extract(r.value, '$[0]')
WHERE j.state = 'blocked'
RETURNING queue, task;

-- name: break_edges
-- Takes :doc (child, parent).
UPDATE mainspring_edges SET broke = 1
FROM json_each(:doc) AS n
WHERE mainspring_edges.parent = json_extract(n.value, '$[1]')
  AND mainspring_edges.child = json_extract(n.value, '$[0]');

-- name: verdicts
-- Takes :doc (ids). Of those that wait for nothing more: id, whether they waited for a dead parent, and none is.
SELECT id, NOT fired AND EXISTS (SELECT 1 FROM mainspring_edges WHERE child = id AND +policy = 'dead')
FROM (
    SELECT j.id AS id,
           EXISTS (SELECT 1 FROM mainspring_edges INDEXED BY mainspring_edges_fired
                   WHERE child = j.id AND policy = 'dead' AND state = 'dead') AS fired,
           EXISTS (SELECT 1 FROM mainspring_edges INDEXED BY mainspring_edges_open
                   WHERE child = j.id AND state IS NULL) AS open
    FROM json_each(:doc) AS c CROSS JOIN mainspring_jobs AS j ON j.id = c.value
    WHERE +j.state = 'blocked'
)
WHERE fired OR NOT open;

-- name: release
-- Takes :doc (ids), :now. Gives ids.
UPDATE mainspring_jobs
SET state = CASE WHEN run_at > :now THEN 'scheduled' ELSE 'queued' END, run_at = max(run_at, :now)
WHERE id IN (SELECT value FROM json_each(:doc)) AND +state = 'blocked'
RETURNING id;

-- name: felled
-- Takes :doc (ids of jobs that were revived). Gives child, parent, place of all FAIL edges that ended badly, of what
-- was cancelled because of them, and of what was because of that.
WITH RECURSIVE near (job) AS (
    SELECT value FROM json_each(:doc)
    UNION
    SELECT e.child
    FROM near CROSS JOIN mainspring_edges AS e ON e.parent = near.job
    WHERE EXISTS (
        SELECT 1 FROM mainspring_edges AS b INDEXED BY mainspring_edges_broke WHERE b.child = e.child AND b.broke
    )
)
SELECT e.child, e.parent, e.place
FROM near CROSS JOIN mainspring_edges AS e ON e.child = near.job
WHERE e.policy = 'fail' AND e.state IN ('dead', 'cancelled')
  AND EXISTS (
    SELECT 1 FROM mainspring_edges AS b INDEXED BY mainspring_edges_broke WHERE b.child = near.job AND b.broke
);

-- name: mend_edges
-- Takes :doc (ids of children).
UPDATE mainspring_edges SET broke = 0 WHERE broke AND child IN (SELECT value FROM json_each(:doc));

-- name: open_edges
-- Takes :doc (ids of parents), :felled (ids of children). They wait anew: those children, and those that are blocked.
UPDATE mainspring_edges SET state = NULL, result = NULL, reason = NULL, broke = 0
WHERE parent IN (SELECT value FROM json_each(:doc)) AND state IS NOT NULL
  AND (child IN (SELECT value FROM json_each(:felled))
       OR EXISTS (SELECT 1 FROM mainspring_jobs WHERE id = child AND +state = 'blocked'));

-- name: rise
-- Takes :doc (ids), :now. Copies cancelled jobs back among the live ones, blocked.
INSERT INTO mainspring_jobs (
    id, task, queue, state, args, priority, lease, created_at, run_at, started_at, worker, history, options,
    partition, cost, flow, checkpoint, gate
)
SELECT f.id, f.task, f.queue, 'blocked', f.args, f.priority, f.lease, f.created_at, :now, f.started_at, f.worker,
       f.history, f.options, f.partition, f.cost, f.flow, f.checkpoint,
       coalesce((SELECT name FROM mainspring_tasks WHERE name = f.task), '')
FROM json_each(:doc) AS r CROSS JOIN mainspring_finished AS f ON f.id = r.value
WHERE true;

-- name: drop_edges
-- Takes :doc (ids of children that are gone).
DELETE FROM mainspring_edges WHERE child IN (SELECT value FROM json_each(:doc));

-- name: parents_of
-- Takes :doc (ids of children). Gives child, parent, policy, state, result, reason, in the order of each one's edges.
SELECT e.child, e.parent, e.policy, e.state, e.result, e.reason
FROM json_each(:doc) AS c CROSS JOIN mainspring_edges AS e ON e.child = c.value
ORDER BY c.key, e.place;

-- name: parts_of
-- Takes :flow. Gives its id, and those of all that are a part of it.
WITH RECURSIVE part (id) AS (
    SELECT :flow
    UNION
    SELECT below.id
    FROM part CROSS JOIN mainspring_flows AS below INDEXED BY mainspring_flows_parent ON below.parent = part.id
)
SELECT id FROM part;

-- name: flow_page
-- Takes :at, :id (where the page before ended), :limit. Gives id, name, parent, created_at, callbacks, newest first.
SELECT id, name, parent, created_at, callbacks FROM mainspring_flows INDEXED BY mainspring_flows_page
WHERE (created_at, id) < (:at, :id) ORDER BY created_at DESC, id DESC LIMIT :limit;

-- name: flow_counts
-- Takes :doc (flow ids). Gives flow, state, number of its jobs and of those of its parts.
WITH RECURSIVE part (flow, id) AS (
    SELECT value, value FROM json_each(:doc)
    UNION
    SELECT part.flow, below.id
    FROM part CROSS JOIN mainspring_flows AS below INDEXED BY mainspring_flows_parent ON below.parent = part.id
)
SELECT part.flow, j.state, count(*)
FROM part CROSS JOIN mainspring_jobs AS j INDEXED BY mainspring_jobs_flow ON j.flow = part.id
GROUP BY part.flow, j.state
UNION ALL
SELECT part.flow, j.state, count(*)
FROM part CROSS JOIN mainspring_finished AS j INDEXED BY mainspring_finished_flow ON j.flow = part.id
GROUP BY part.flow, j.state;

-- name: oldest_flows
-- Takes :limit. Gives ids.
SELECT id FROM mainspring_flows INDEXED BY mainspring_flows_page ORDER BY created_at, id LIMIT :limit;

-- name: lock_flows
-- Takes :doc (ids). Gives those to which nobody else adds jobs now: all.
SELECT value FROM json_each(:doc);

-- name: forget_flows
-- Takes :doc (ids). Those of which nothing is left. Gives the flows that they were a part of.
DELETE FROM mainspring_flows
WHERE id IN (SELECT value FROM json_each(:doc))
  AND NOT EXISTS (SELECT 1 FROM mainspring_jobs WHERE flow = mainspring_flows.id)
  AND NOT EXISTS (SELECT 1 FROM mainspring_finished WHERE flow = mainspring_flows.id)
  AND NOT EXISTS (SELECT 1 FROM mainspring_flows AS part WHERE part.parent = mainspring_flows.id)
RETURNING parent;
