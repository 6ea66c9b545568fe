-- What waits for what. A child is blocked until its edges say otherwise; see statements.sql for how these are written.
--
-- Several may end the parents of one child at once, and none sees what the others have written. So whoever judges a
-- child locks it first, and looks in a later statement: the last one sees all. Whoever gives a job a new child keeps
-- that job from ending meanwhile (FOR KEY SHARE: it can be claimed all the same). Whoever takes an end back locks the
-- edges that this concerns.
--
-- Where a recursion looks something up, OFFSET 0 keeps the planner from joining whole tables at each step.

-- name: add_flows
-- Takes :doc (NewFlow), :now. What is there already stays as it is (WHERE false), and stays there: it is locked.
INSERT INTO mainspring_flows AS f (id, name, parent, created_at, callbacks)
SELECT n.id, n.name, n.parent, :now, n.callbacks
FROM json_to_recordset(:doc) AS n (id text, name text, parent text, callbacks text)
ORDER BY n.id
ON CONFLICT (id) DO UPDATE SET name = f.name WHERE false;

-- name: hold_jobs
-- Takes :doc (ids). Gives those that are there; they stay live, or finished, as they are until the end of the
-- transaction. One that moves from here to there at this moment may be missing.
WITH live AS (
    SELECT id FROM mainspring_jobs WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc))) ORDER BY id
    FOR KEY SHARE
), ended AS (
    SELECT id FROM mainspring_finished WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc))) ORDER BY id
    FOR KEY SHARE
)
SELECT id FROM live UNION ALL SELECT id FROM ended;

-- name: lock_callbacks
-- Takes :doc (flow ids), :alone. The callbacks of these flows, and of those that they are a part of, stay blocked if they
-- are; :alone for who will judge them too. And the flows stay there.
WITH RECURSIVE above (id) AS (
    SELECT value COLLATE "C" FROM json_array_elements_text(:doc) AS value
    UNION
    SELECT own.parent
    FROM above CROSS JOIN LATERAL (
        SELECT f.parent FROM mainspring_flows AS f WHERE f.id = above.id AND f.parent IS NOT NULL OFFSET 0
    ) AS own
), kept AS (
    SELECT callbacks FROM mainspring_flows WHERE id = ANY(ARRAY(SELECT id FROM above)) ORDER BY id FOR KEY SHARE
), callback AS (
    SELECT c.value ->> 'job' AS id FROM kept CROSS JOIN LATERAL json_array_elements(kept.callbacks::json) AS c (value)
), shared AS (
    SELECT id FROM mainspring_jobs
    WHERE NOT :alone AND id = ANY(ARRAY(SELECT id FROM callback)) AND (state = 'blocked') IS NOT FALSE ORDER BY id
    FOR KEY SHARE
), locked AS (
    SELECT id FROM mainspring_jobs
    WHERE :alone AND id = ANY(ARRAY(SELECT id FROM callback)) AND (state = 'blocked') IS NOT FALSE ORDER BY id
    FOR UPDATE
)
SELECT (SELECT count(*) FROM shared) + (SELECT count(*) FROM locked);

-- name: callbacks_of
-- Takes :doc (flow ids). Gives each with, one by one, the callbacks of it and of all flows that it is a part of: flow,
-- the flow whose callback it is, job, policy, waiting? One that went down with a member may come back, and then waits
-- for those too that came meanwhile.
WITH RECURSIVE above (flow, id) AS (
    SELECT value COLLATE "C", value COLLATE "C" FROM json_array_elements_text(:doc) AS value
    UNION
    SELECT above.flow, own.parent
    FROM above CROSS JOIN LATERAL (
        SELECT f.parent FROM mainspring_flows AS f WHERE f.id = above.id AND f.parent IS NOT NULL OFFSET 0
    ) AS own
)
SELECT above.flow, above.id, c.value ->> 'job', c.value ->> 'policy',
       EXISTS (SELECT 1 FROM mainspring_jobs AS j
               WHERE j.id = c.value ->> 'job' AND (j.state = 'blocked') IS NOT FALSE OFFSET 0)
           OR EXISTS (SELECT 1 FROM mainspring_edges AS e WHERE e.child = c.value ->> 'job' AND e.broke OFFSET 0)
FROM above CROSS JOIN LATERAL (SELECT callbacks FROM mainspring_flows AS f WHERE f.id = above.id OFFSET 0) AS own
CROSS JOIN LATERAL json_array_elements(own.callbacks::json) AS c (value);

-- name: block
-- Takes :doc (ids).
UPDATE mainspring_jobs SET state = 'blocked'
WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc))) AND (state IN ('queued', 'scheduled')) IS NOT FALSE;

-- name: add_edges
-- Takes :doc (child, parent, place, policy, wants, gone?). An edge of a parent that has ended is ended from the start.
-- Two who add to one child at once may take the same place.
INSERT INTO mainspring_edges (child, parent, place, policy, wants, state, result, reason)
SELECT n.child, n.parent,
       n.place + coalesce((SELECT max(e.place) + 1 FROM mainspring_edges AS e WHERE e.child = n.child), 0),
       n.policy, n.wants,
       CASE WHEN n.gone THEN 'cancelled' ELSE f.state END,
       CASE WHEN n.wants AND f.state = 'completed' THEN f.result END,
       CASE WHEN n.gone THEN 'deleted' WHEN f.state <> 'completed' THEN f.reason END
FROM (
    SELECT value ->> 0 AS child, value ->> 1 AS parent, (value ->> 2)::integer AS place, value ->> 3 AS policy,
           (value ->> 4)::boolean AS wants, (value ->> 5)::boolean AS gone
    FROM json_array_elements(:doc) AS value
) AS n
LEFT JOIN mainspring_finished AS f ON f.id = n.parent
ORDER BY n.child, n.parent
ON CONFLICT (parent, child) DO NOTHING;

-- name: ended_edges
-- Takes :doc (ids of children). Gives child, parent, policy, state of their edges whose parents have ended.
SELECT child, parent, policy, state FROM mainspring_edges
WHERE child = ANY(ARRAY(SELECT json_array_elements_text(:doc))) AND state IS NOT NULL;

-- name: end_edges
-- Takes :doc (ids of jobs that have ended). Gives child, parent, policy, state.
UPDATE mainspring_edges AS e
SET state = f.state,
    result = CASE WHEN e.wants AND f.state = 'completed' THEN f.result END,
    reason = CASE WHEN f.state <> 'completed' THEN f.reason END
FROM mainspring_finished AS f
WHERE f.id = ANY(ARRAY(SELECT json_array_elements_text(:doc))) AND e.parent = f.id AND e.state IS NULL
RETURNING e.child, e.parent, e.policy, e.state;

-- name: lose_edges
-- Takes :doc (ids of jobs that were deleted before they had ended). Gives child, parent, policy, state.
UPDATE mainspring_edges SET state = 'cancelled', reason = 'deleted'
WHERE parent = ANY(ARRAY(SELECT json_array_elements_text(:doc))) AND state IS NULL
RETURNING child, parent, policy, state;

-- name: lock_children
-- Takes :doc (ids). Those that are blocked stay as they are until the end of the transaction. Gives one row: what was
-- read of them before is to be read again.
SELECT count(*) FROM (
    SELECT id FROM mainspring_jobs
    WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc))) AND (state = 'blocked') IS NOT FALSE
    ORDER BY id FOR UPDATE
) AS locked;

-- name: lock_falling
-- Takes :doc (ids of children of whose FAIL edges one broke), :waiting (ids). What will fall, what waits for that, and
-- :waiting: all at once in the order of their ids, so that those who end several parents of these do not wait for each
-- other. Gives ids of those that are blocked; they stay so until the end of the transaction.
WITH RECURSIVE falling (job) AS (
    SELECT value COLLATE "C" FROM json_array_elements_text(:doc) AS value
    UNION
    SELECT below.child
    FROM falling CROSS JOIN LATERAL (
        SELECT e.child FROM mainspring_edges AS e
        WHERE e.parent = falling.job AND e.state IS NULL AND e.policy = 'fail' OFFSET 0
    ) AS below
)
SELECT id FROM mainspring_jobs
WHERE id = ANY(ARRAY(
    SELECT json_array_elements_text(:waiting)
    UNION
    SELECT job FROM falling
    UNION
    SELECT below.child
    FROM falling CROSS JOIN LATERAL (
        SELECT e.child FROM mainspring_edges AS e WHERE e.parent = falling.job AND e.state IS NULL OFFSET 0
    ) AS below
)) AND (state = 'blocked') IS NOT FALSE
ORDER BY id FOR UPDATE;

-- name: falling
-- Takes :doc (ids of children of whose FAIL edges one broke). Gives child, parent, place, state of all FAIL edges of
-- those among them that are blocked, and of all that fall with them.
WITH RECURSIVE falling (job) AS (
    SELECT id FROM mainspring_jobs
    WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc))) AND (state = 'blocked') IS NOT FALSE
    UNION
    SELECT below.child
    FROM falling CROSS JOIN LATERAL (
        SELECT e.child FROM mainspring_edges AS e
        WHERE e.parent = falling.job AND e.state IS NULL AND e.policy = 'fail'
          AND EXISTS (SELECT 1 FROM mainspring_jobs AS j
                      WHERE j.id = e.child AND (j.state = 'blocked') IS NOT FALSE OFFSET 0)
        OFFSET 0
    ) AS below
)
SELECT falling.job, own.parent, own.place, own.state
FROM falling CROSS JOIN LATERAL (
    SELECT e.parent, e.place, e.state FROM mainspring_edges AS e
    WHERE e.child = falling.job AND e.policy = 'fail' OFFSET 0
) AS own;

-- name: fell
-- Takes :doc (id, reason), :now. Moves blocked jobs to the finished ones. Gives the queue and task of each.
WITH r AS (
    SELECT value ->> 0 AS id, value ->> 1 AS why FROM json_array_elements(:doc) AS value
), gone AS (
    DELETE FROM mainspring_jobs AS j USING r WHERE j.id = r.id AND (j.state = 'blocked') IS NOT FALSE
    RETURNING j.*, r.why
)
INSERT INTO mainspring_finished
SELECT id, task, queue, 'cancelled', args, priority, attempt, crashes, postponed, lease, created_at, run_at, started_at,
       :now, worker, cancel_requested, progress, progress_text, NULL, error, why, history, options, partition, cost,
       flow, checkpoint
FROM gone
RETURNING queue, task;

-- name: break_edges
-- Takes :doc (child, parent).
UPDATE mainspring_edges AS e SET broke = true
FROM (SELECT value ->> 0 AS child, value ->> 1 AS parent FROM json_array_elements(:doc) AS value) AS n
WHERE e.parent = n.parent AND e.child = n.child;

-- name: verdicts
-- Takes :doc (ids). Of those that wait for nothing more: id, whether they waited for a dead parent, and none is.
SELECT id, NOT fired AND EXISTS (SELECT 1 FROM mainspring_edges AS e WHERE e.child = id AND e.policy = 'dead')
FROM (
    SELECT j.id,
           EXISTS (SELECT 1 FROM mainspring_edges AS e
                   WHERE e.child = j.id AND e.policy = 'dead' AND e.state = 'dead') AS fired,
           EXISTS (SELECT 1 FROM mainspring_edges AS e WHERE e.child = j.id AND e.state IS NULL) AS open
    FROM mainspring_jobs AS j
    WHERE j.id = ANY(ARRAY(SELECT json_array_elements_text(:doc))) AND (j.state = 'blocked') IS NOT FALSE
    OFFSET 0
) AS child
WHERE fired OR NOT open;

-- name: release
-- Takes :doc (ids), :now. Gives ids.
UPDATE mainspring_jobs
SET state = CASE WHEN run_at > :now THEN 'scheduled' ELSE 'queued' END, run_at = greatest(run_at, :now)
WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc))) AND (state = 'blocked') IS NOT FALSE
RETURNING id;

-- name: lock_edges
-- Takes :doc (ids). The edges of these jobs and of their children end no more until the end of the transaction: what is
-- taken back and what ends cannot cross. Gives one row: what was read of them before is to be read again.
SELECT count(*) FROM (
    SELECT 1 FROM mainspring_edges
    WHERE child = ANY(ARRAY(
        SELECT value COLLATE "C" FROM json_array_elements_text(:doc) AS value
        UNION
        SELECT child FROM mainspring_edges WHERE parent = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
    ))
    ORDER BY child, parent FOR UPDATE
) AS locked;

-- name: felled
-- Takes :doc (ids of jobs that were revived). Gives child, parent, place of all FAIL edges that ended badly, of what
-- was cancelled because of them, and of what was because of that.
WITH RECURSIVE near (job) AS (
    SELECT value COLLATE "C" FROM json_array_elements_text(:doc) AS value
    UNION
    SELECT below.child
    FROM near CROSS JOIN LATERAL (
        SELECT e.child FROM mainspring_edges AS e
        WHERE e.parent = near.job
          AND EXISTS (SELECT 1 FROM mainspring_edges AS b WHERE b.child = e.child AND b.broke OFFSET 0)
        OFFSET 0
    ) AS below
)
SELECT near.job, own.parent, own.place
FROM near CROSS JOIN LATERAL (
    SELECT e.parent, e.place FROM mainspring_edges AS e
    WHERE e.child = near.job AND e.policy = 'fail' AND e.state IN ('dead', 'cancelled')
      AND EXISTS (SELECT 1 FROM mainspring_edges AS b WHERE b.child = near.job AND b.broke OFFSET 0)
    OFFSET 0
) AS own;

-- name: mend_edges
-- Takes :doc (ids of children).
UPDATE mainspring_edges SET broke = false
WHERE broke AND child = ANY(ARRAY(SELECT json_array_elements_text(:doc)));

-- name: open_edges
-- Takes :doc (ids of parents), :felled (ids of children). They wait anew: those children, and those that are blocked.
UPDATE mainspring_edges AS e SET state = NULL, result = NULL, reason = NULL, broke = false
WHERE e.parent = ANY(ARRAY(SELECT json_array_elements_text(:doc))) AND e.state IS NOT NULL
  AND (e.child = ANY(ARRAY(SELECT json_array_elements_text(:felled)))
       OR EXISTS (SELECT 1 FROM mainspring_jobs AS j
                  WHERE j.id = e.child AND (j.state = 'blocked') IS NOT FALSE OFFSET 0));

-- name: rise
-- Takes :doc (ids), :now. Moves cancelled jobs back among the live ones, blocked.
WITH back AS (
    DELETE FROM mainspring_finished
    WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc))) AND (state = 'cancelled') IS NOT FALSE
    RETURNING *
)
INSERT INTO mainspring_jobs (
    id, task, queue, state, args, priority, lease, created_at, run_at, started_at, worker, history, options,
    partition, cost, flow, checkpoint, gate
)
SELECT id, task, queue, 'blocked', args, priority, lease, created_at, :now, started_at, worker, history, options,
       partition, cost, flow, checkpoint,
       coalesce((SELECT t.name FROM mainspring_tasks AS t WHERE t.name = back.task), '')
FROM back;

-- name: drop_edges
-- Takes :doc (ids of children that are gone).
DELETE FROM mainspring_edges WHERE child = ANY(ARRAY(SELECT json_array_elements_text(:doc)));

-- name: parents_of
-- Takes :doc (ids of children). Gives child, parent, policy, state, result, reason, in the order of each one's edges.
SELECT child, parent, policy, state, result, reason FROM mainspring_edges
WHERE child = ANY(ARRAY(SELECT json_array_elements_text(:doc))) ORDER BY child, place, parent;

-- name: parts_of
-- Takes :flow. Gives its id, and those of all that are a part of it.
WITH RECURSIVE part (id) AS (
    SELECT :flow::text COLLATE "C"
    UNION
    SELECT below.id
    FROM part CROSS JOIN LATERAL (SELECT f.id FROM mainspring_flows AS f WHERE f.parent = part.id OFFSET 0) AS below
)
SELECT id FROM part;

-- name: flow_page
-- Takes :at, :id (where the page before ended), :limit. Gives id, name, parent, created_at, callbacks, newest first.
SELECT id, name, parent, created_at, callbacks FROM mainspring_flows
WHERE (created_at, id) < (:at, :id) ORDER BY created_at DESC, id DESC LIMIT :limit;

-- name: flow_counts
-- Takes :doc (flow ids). Gives flow, state, number of its jobs and of those of its parts.
WITH RECURSIVE part (flow, id) AS (
    SELECT value COLLATE "C", value COLLATE "C" FROM json_array_elements_text(:doc) AS value
    UNION
    SELECT part.flow, below.id
    FROM part CROSS JOIN LATERAL (SELECT f.id FROM mainspring_flows AS f WHERE f.parent = part.id OFFSET 0) AS below
)
SELECT part.flow, counted.state, sum(counted.jobs)::bigint
FROM part CROSS JOIN LATERAL (
    SELECT state, count(*) AS jobs FROM mainspring_jobs WHERE flow = part.id GROUP BY state
    UNION ALL
    SELECT state, count(*) FROM mainspring_finished WHERE flow = part.id GROUP BY state
) AS counted
GROUP BY part.flow, counted.state;

-- name: oldest_flows
-- Takes :limit. Gives ids, locked; those to which jobs are being added are not there.
SELECT id FROM mainspring_flows ORDER BY created_at, id LIMIT :limit FOR UPDATE SKIP LOCKED;

-- name: lock_flows
-- Takes :doc (ids). Gives those to which no jobs are being added now, locked.
SELECT id FROM mainspring_flows
WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc))) ORDER BY id FOR UPDATE SKIP LOCKED;

-- name: forget_flows
-- Takes :doc (ids, locked). Those of which nothing is left. Gives the flows that they were a part of.
DELETE FROM mainspring_flows AS f
WHERE f.id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
  AND NOT EXISTS (SELECT 1 FROM mainspring_jobs AS j WHERE j.flow = f.id)
  AND NOT EXISTS (SELECT 1 FROM mainspring_finished AS j WHERE j.flow = f.id)
  AND NOT EXISTS (SELECT 1 FROM mainspring_flows AS part WHERE part.parent = f.id)
RETURNING f.parent;

-- name: circles
-- Takes :doc (ids). Gives those that wait, by way of others, for themselves.
WITH RECURSIVE waits (start, job) AS (
    SELECT value COLLATE "C", value COLLATE "C" FROM json_array_elements_text(:doc) AS value
    UNION
    SELECT waits.start, e.child FROM waits CROSS JOIN LATERAL (
        SELECT child FROM mainspring_edges WHERE parent = waits.job AND state IS NULL OFFSET 0
    ) AS e
)
SELECT waits.start
FROM waits JOIN mainspring_edges AS e ON e.parent = waits.job AND e.child = waits.start
WHERE e.state IS NULL;
