-- PostgreSQL's statements about gates: turns of partitions, and who waits at what. See statements.sql for how these are
-- written. Who serves a queue, or says something about it, has its row locked, and then those of tasks (lock_gates,
-- lock_gates_of_tasks): so it is alone with its partitions and lanes. All others leave word of what may have changed
-- (mainspring_arrivals), which locks nothing, and waits for nobody.
--
-- Whether there is anything in a queue is asked by a min(), which an index answers: for EXISTS the planner would walk the
-- table, sure to meet such a row soon.

-- name: unknown_queues
-- Takes :doc (queue names). Gives those that have no row yet.
SELECT value FROM json_array_elements_text(:doc) AS value
WHERE NOT EXISTS (SELECT 1 FROM mainspring_queues WHERE name = value);

-- name: lock_gates
-- Takes :doc (queue names). Whoever serves these queues is alone with them until the end of its transaction.
SELECT 1 FROM mainspring_queues WHERE name = ANY(ARRAY(SELECT json_array_elements_text(:doc))) ORDER BY name FOR UPDATE;

-- name: add_queues
-- Takes :doc (names). The same, where some have no row yet: all are locked in one order, those that are new and those
-- that are there.
INSERT INTO mainspring_queues AS q (name)
SELECT value FROM json_array_elements_text(:doc) AS value ORDER BY value COLLATE "C"
ON CONFLICT (name) DO UPDATE SET name = q.name;

-- name: lock_tasks
-- Takes :doc (task names).
SELECT 1 FROM mainspring_tasks WHERE name = ANY(ARRAY(SELECT json_array_elements_text(:doc))) ORDER BY name FOR UPDATE;

-- name: lock_gates_of_tasks
-- Takes :doc (queue names). Locks those at which jobs of these queues are, or will be once they are due. Gives the others,
-- as far as they have limits: nothing may pass there.
WITH gated AS MATERIALIZED (
    SELECT t.name, EXISTS (
        SELECT 1 FROM mainspring_jobs AS j
        WHERE j.state IN ('queued', 'scheduled') AND j.gate <> '' AND j.gate = t.name
          AND j.queue = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
    ) AS here
    FROM mainspring_tasks AS t WHERE t.defined <> '{}' OR t.limited <> '{}'
), locked AS (
    SELECT t.name FROM mainspring_tasks AS t WHERE t.name = ANY(ARRAY(SELECT g.name FROM gated AS g WHERE g.here))
    ORDER BY t.name FOR UPDATE
)
SELECT name FROM gated WHERE name <> ALL(ARRAY(SELECT l.name FROM locked AS l));

-- name: lock_room
-- Takes :doc (queue names, sorted) of queues that take only so many waiting jobs. Whoever counts them is alone until the
-- end of its transaction.
SELECT pg_advisory_xact_lock(hashtextextended(name, 8)) FROM json_array_elements_text(:doc) AS name;

-- name: take_arrivals
-- Takes :queue, :limit. Gives partitions in which there may be something to claim, some perhaps several times. Jobs that
-- were put outside of any partition, by whoever did not see yet that their queue has some, left no word.
WITH gone AS (
    DELETE FROM mainspring_arrivals
    WHERE ctid = ANY(ARRAY(
        SELECT a.ctid FROM mainspring_arrivals AS a WHERE a.queue = :queue LIMIT :limit FOR UPDATE SKIP LOCKED
    ))
    RETURNING partition
)
SELECT partition FROM gone
UNION ALL
SELECT '' WHERE (SELECT min(j.gate) FROM mainspring_jobs AS j
                 WHERE j.state = 'queued' AND j.queue = :queue AND j.partition = '') IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM mainspring_partitions AS p
                            WHERE p.queue = :queue AND p.name = ''
                              AND (p.active OR p.open_at IS NOT NULL OR p.waiting OR p.paused_at IS NOT NULL))
            AND (EXISTS (SELECT 1 FROM mainspring_queues AS q WHERE q.name = :queue AND q.partitioned)
                 OR (SELECT min(p.name) FROM mainspring_partitions AS p WHERE p.queue = :queue) IS NOT NULL
                 OR EXISTS (SELECT 1 FROM gone AS g WHERE g.partition <> ''));

-- name: admit
-- Takes :doc (partitions), :queue, :parted (whether there is a named one among them). Those with queued jobs become
-- active; others no longer wait for a time. Outside of any partition a job is in "", which is one only where its queue
-- has others.
WITH parted AS (
    UPDATE mainspring_queues SET partitioned = true WHERE name = :queue AND :parted AND NOT partitioned
)
INSERT INTO mainspring_partitions (queue, name, active, reached)
SELECT :queue, place.name, place.queued,
       coalesce((SELECT q.reached FROM mainspring_queues AS q WHERE q.name = :queue), 0)
FROM (
    SELECT value AS name,
           (SELECT min(j.gate) FROM mainspring_jobs AS j
            WHERE j.state = 'queued' AND j.queue = :queue AND j.partition = value) IS NOT NULL AS queued
    FROM json_array_elements_text(:doc) AS value
) AS place
WHERE place.queued AND (
        place.name <> '' OR :parted
        OR EXISTS (SELECT 1 FROM mainspring_queues AS q WHERE q.name = :queue AND q.partitioned)
        OR (SELECT min(p.name) FROM mainspring_partitions AS p WHERE p.queue = :queue) IS NOT NULL
    )
   OR EXISTS (SELECT 1 FROM mainspring_partitions AS p WHERE p.queue = :queue AND p.name = place.name)
ORDER BY place.name COLLATE "C"
ON CONFLICT (queue, name) DO UPDATE
SET active = excluded.active, open_at = NULL, waiting = false,
    reached = greatest(mainspring_partitions.reached, excluded.reached)
WHERE NOT mainspring_partitions.active AND mainspring_partitions.paused_at IS NULL
  AND (excluded.active OR mainspring_partitions.open_at IS NOT NULL OR mainspring_partitions.waiting);

-- name: lock_arrived
-- Takes :limit. Locks queues of which there is word, as far as nobody serves them; gives their names.
SELECT q.name FROM mainspring_queues AS q
WHERE (SELECT min(a.partition) FROM mainspring_arrivals AS a WHERE a.queue = q.name) IS NOT NULL
ORDER BY q.name LIMIT :limit FOR UPDATE SKIP LOCKED;

-- name: busy_jobs
-- Takes :doc (ids of queued jobs). Locks them; gives those that somebody else is about to change, or just has.
WITH locked AS (
    SELECT id FROM mainspring_jobs
    WHERE (state = 'queued') IS NOT FALSE AND id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
    ORDER BY id FOR UPDATE SKIP LOCKED
)
SELECT value FROM json_array_elements_text(:doc) AS value
WHERE value <> ALL(ARRAY(SELECT id FROM locked));

-- name: queue_gate
-- Takes :queue, :now. Gives its settings and memory, whether it has partitions, whether there is one to be activated now.
SELECT coalesce(q.defined, '{}'), coalesce(q.limited, '{}'), coalesce(q.each_defined, '{}'),
       coalesce(q.each_limited, '{}'), q.sequence, coalesce(q.closed_until, 0), q.spent, o.parted,
       EXISTS (SELECT 1 FROM mainspring_partitions AS p WHERE p.queue = :queue AND p.open_at <= :now)
       OR (SELECT min(a.partition) FROM mainspring_arrivals AS a WHERE a.queue = :queue) IS NOT NULL
       OR (o.parted
           AND (SELECT min(j.gate) FROM mainspring_jobs AS j
                WHERE j.state = 'queued' AND j.queue = :queue AND j.partition = '') IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM mainspring_partitions AS p
                           WHERE p.queue = :queue AND p.name = ''
                             AND (p.active OR p.open_at IS NOT NULL OR p.waiting OR p.paused_at IS NOT NULL)))
FROM (SELECT 1) AS one LEFT JOIN mainspring_queues AS q ON q.name = :queue
CROSS JOIN LATERAL (
    SELECT coalesce(q.partitioned, false)
        OR (SELECT min(p.name) FROM mainspring_partitions AS p WHERE p.queue = :queue) IS NOT NULL AS parted
) AS o;

-- name: task_gates
-- Takes :queue. Gives all tasks that have, or had, a gate: name, settings, memory, running (where it matters), the least
-- cost at which jobs of that queue's partitions wait there (NULL: none does).
SELECT t.name, t.defined, t.limited, t.closed_until, t.spent,
       CASE WHEN position('"concurrency"' IN t.defined) > 0 OR position('"concurrency"' IN t.limited) > 0
            THEN (SELECT count(*) FROM mainspring_jobs AS j
                  WHERE j.state = 'running' AND j.gate <> '' AND j.gate = t.name) ELSE 0 END,
       (SELECT min(l.cost) FROM mainspring_lanes AS l WHERE l.queue = :queue AND l.task = t.name)
FROM mainspring_tasks AS t;

-- name: open_by_time
-- Takes :queue, :now, :limit. Gives as many rows as partitions that are active again.
UPDATE mainspring_partitions AS p
SET active = true, open_at = NULL,
    reached = greatest(p.reached, coalesce((SELECT q.reached FROM mainspring_queues AS q WHERE q.name = :queue), 0))
WHERE p.queue = :queue AND p.name = ANY(ARRAY(
    SELECT o.name FROM mainspring_partitions AS o
    WHERE o.queue = :queue AND o.open_at <= :now ORDER BY o.open_at LIMIT :limit FOR UPDATE
))
RETURNING 1;

-- name: leave_lane
-- Takes :queue, :task, :most, :left (NULL: any), :limit. The partitions whose turn at an open task's gate comes first;
-- gives their names.
DELETE FROM mainspring_lanes
WHERE queue = :queue AND task = :task AND partition = ANY(ARRAY(
    SELECT l.partition FROM mainspring_lanes AS l
    WHERE l.queue = :queue AND l.task = :task
      AND (:left::bigint IS NULL OR least(l.cost, :most::bigint) <= :left::bigint)
    ORDER BY l.reached, l.partition LIMIT :limit
))
RETURNING partition;

-- name: activate
-- Takes :doc (names), :queue.
UPDATE mainspring_partitions AS p
SET active = true, open_at = NULL,
    reached = greatest(p.reached, coalesce((SELECT q.reached FROM mainspring_queues AS q WHERE q.name = :queue), 0))
WHERE p.queue = :queue AND p.name = ANY(ARRAY(
    SELECT o.name FROM mainspring_partitions AS o
    WHERE o.queue = :queue AND o.name = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
      AND NOT o.active AND o.paused_at IS NULL
    ORDER BY o.name FOR UPDATE
));

-- name: next_turns
-- Takes :queue, :reached, :name, :limit. The active partitions after that one, by their turn.
SELECT name, reached, paused_at, defined, limited, closed_until, spent
FROM mainspring_partitions
WHERE queue = :queue AND active AND (reached, name) > (:reached, :name)
ORDER BY reached, name LIMIT :limit;

-- name: running_in
-- Takes :doc (partitions), :queue. Gives name, running.
SELECT p.value, (SELECT count(*) FROM mainspring_jobs AS j
                 WHERE j.state = 'running' AND j.queue = :queue AND j.partition = p.value)
FROM json_array_elements_text(:doc) AS p (value);

-- name: lanes_in
-- Takes :doc (partitions), :queue. Gives each with the gates that its queued jobs have, each gate once, one by one.
WITH RECURSIVE lane (partition, gate) AS (
    SELECT p.value, (SELECT min(j.gate) FROM mainspring_jobs AS j
                     WHERE j.state = 'queued' AND j.queue = :queue AND j.partition = p.value)
    FROM json_array_elements_text(:doc) AS p (value)
    UNION ALL
    SELECT lane.partition, (SELECT min(j.gate) FROM mainspring_jobs AS j
                            WHERE j.state = 'queued' AND j.queue = :queue AND j.partition = lane.partition
                              AND j.gate > lane.gate)
    FROM lane WHERE lane.gate IS NOT NULL
)
SELECT partition, gate FROM lane WHERE gate IS NOT NULL;

-- name: candidates
-- Takes :doc ([partition, gate] of lanes), :queue, :limit. Gives the lane's number, the first jobs of each, in no order.
SELECT lane.place - 1, j.priority, j.run_at, j.id, j.id, j.cost, j.task
FROM json_array_elements(:doc) WITH ORDINALITY AS lane (value, place)
CROSS JOIN LATERAL (
    SELECT c.priority, c.run_at, c.id, c.cost, c.task FROM mainspring_jobs AS c
    WHERE c.state = 'queued' AND c.queue = :queue AND c.partition = lane.value ->> 0 AND c.gate = lane.value ->> 1
    ORDER BY c.priority, c.run_at, c.id LIMIT :limit
) AS j;

-- name: holders
-- Takes :doc ([partition, key]). Gives partition, job, task (only if it is queued), priority, run_at, id, cost. The
-- partition is as it was given, should it be more than a text.
SELECT CASE json_typeof(p.value -> 0) WHEN 'string' THEN p.value ->> 0 ELSE (p.value -> 0)::text END,
       k.job, CASE WHEN j.state = 'queued' THEN j.task END, j.priority, j.run_at, j.id, j.cost
FROM json_array_elements(:doc) AS p (value)
JOIN mainspring_keys AS k ON k.name = p.value ->> 1
LEFT JOIN mainspring_jobs AS j ON j.id = k.job
LEFT JOIN mainspring_finished AS f ON f.id = k.job
WHERE j.id IS NOT NULL OR (k.until = 'resolved' AND f.state = 'dead');

-- name: regate
-- Takes :doc (partitions), :queue, :limit. Jobs that were there before their task had a gate, of the first so many in
-- each partition that have none. Gives a row for each.
UPDATE mainspring_jobs SET gate = task
WHERE id = ANY(ARRAY(
    SELECT j.id FROM json_array_elements_text(:doc) AS p (value) CROSS JOIN LATERAL (
        SELECT c.id, c.task FROM mainspring_jobs AS c
        WHERE c.state = 'queued' AND c.queue = :queue AND c.partition = p.value AND c.gate = ''
        ORDER BY c.priority, c.run_at, c.id LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS j
    WHERE j.task IN (SELECT t.name FROM mainspring_tasks AS t)
))
RETURNING 1;

-- name: claim_rows
-- Takes :doc (ids), :worker, :now. Gives claims, in no order.
UPDATE mainspring_jobs AS j
SET state = 'running', lease = lease + 1, attempt = attempt + 1, worker = :worker, started_at = :now,
    gate = coalesce((SELECT t.name FROM mainspring_tasks AS t WHERE t.name = j.task), '')
WHERE (state = 'queued') IS NOT FALSE AND id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
RETURNING id, lease, task, queue, args, priority, attempt, crashes, postponed, created_at, run_at, started_at, worker,
          history, options, cancel_requested, partition, cost, flow, checkpoint;

-- name: write_turns
-- Takes :doc ([name, reached, active, open_at, waiting, spent, counts_until]) of partitions that are there, :queue.
INSERT INTO mainspring_partitions AS p (queue, name, reached, active, open_at, waiting, spent, counts_until)
SELECT :queue, v ->> 0, (v ->> 1)::bigint, (v ->> 2)::boolean, (v ->> 3)::bigint, (v ->> 4)::boolean, v ->> 5,
       (v ->> 6)::bigint
FROM json_array_elements(:doc) AS v ORDER BY (v ->> 0) COLLATE "C"
ON CONFLICT (queue, name) DO UPDATE
SET reached = excluded.reached, active = excluded.active, open_at = excluded.open_at, waiting = excluded.waiting,
    spent = excluded.spent, counts_until = greatest(p.counts_until, excluded.counts_until);

-- name: forget_lanes
-- Takes :doc ([queue, partition]).
DELETE FROM mainspring_lanes AS l USING json_array_elements(:doc) AS v
WHERE l.queue = v ->> 0 AND l.partition = v ->> 1;

-- name: wait_in_lanes
-- Takes :doc ([partition, task, reached, cost]), :queue.
INSERT INTO mainspring_lanes (queue, partition, task, reached, cost)
SELECT :queue, v ->> 0, v ->> 1, (v ->> 2)::bigint, (v ->> 3)::integer FROM json_array_elements(:doc) AS v
ON CONFLICT (queue, partition, task) DO UPDATE SET reached = excluded.reached, cost = excluded.cost;

-- name: write_queue
-- Takes :queue, :reached, :spent.
UPDATE mainspring_queues SET reached = greatest(reached, :reached), spent = :spent WHERE name = :queue;

-- name: write_tasks
-- Takes :doc ([name, spent]) of tasks that have a gate.
INSERT INTO mainspring_tasks (name, spent)
SELECT v ->> 0, v ->> 1 FROM json_array_elements(:doc) AS v ORDER BY (v ->> 0) COLLATE "C"
ON CONFLICT (name) DO UPDATE SET spent = excluded.spent;

-- name: partitions_open_at
-- Takes :queue. When time opens the first of its partitions that wait for it.
SELECT min(open_at) FROM mainspring_partitions WHERE queue = :queue AND open_at IS NOT NULL;

-- name: lanes_open_at
-- Takes :queue. Gives tasks with the least cost at which jobs of its partitions wait at their gates.
SELECT t.name, (SELECT min(l.cost) FROM mainspring_lanes AS l WHERE l.queue = :queue AND l.task = t.name)
FROM mainspring_tasks AS t;

-- name: any_partition
-- Whether any queue has, or had, partitions: most stores need not look for each job's.
SELECT 1 WHERE EXISTS (SELECT 1 FROM mainspring_queues WHERE partitioned)
            OR EXISTS (SELECT 1 FROM mainspring_partitions)
            OR EXISTS (SELECT 1 FROM mainspring_arrivals WHERE partition <> '');

-- name: places_of
-- Takes :doc (ids). Gives queue and partition of each of these jobs, live or finished.
SELECT queue, partition FROM mainspring_jobs WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
UNION ALL
SELECT queue, partition FROM mainspring_finished WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc)));

-- name: places_of_live
-- Takes :doc (ids).
SELECT queue, partition FROM mainspring_jobs WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc)));

-- name: places_of_finished
-- Takes :doc (ids).
SELECT queue, partition FROM mainspring_finished WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc)));

-- name: wake_places
-- Takes :doc ([queue, partition]). Leaves word of these places for who serves their queue next (take_arrivals). That is
-- of no use outside of partitions where the queue has none, or where nothing waits.
INSERT INTO mainspring_arrivals (queue, partition)
SELECT place.queue, place.name
FROM (SELECT v ->> 0 AS queue, v ->> 1 AS name FROM json_array_elements(:doc) AS v) AS place
WHERE place.name <> ''
   OR (EXISTS (SELECT 1 FROM mainspring_queues AS q WHERE q.name = place.queue AND q.partitioned)
       OR (SELECT min(p.name) FROM mainspring_partitions AS p WHERE p.queue = place.queue) IS NOT NULL
       OR (SELECT min(a.partition) FROM mainspring_arrivals AS a
           WHERE a.queue = place.queue AND a.partition > '') IS NOT NULL)
      AND ((SELECT min(j.gate) FROM mainspring_jobs AS j
            WHERE j.state = 'queued' AND j.queue = place.queue AND j.partition = '') IS NOT NULL
           OR EXISTS (SELECT 1 FROM mainspring_partitions AS p
                      WHERE p.queue = place.queue AND p.name = '' AND (p.open_at IS NOT NULL OR p.waiting)));

-- name: wake_queue
-- Takes :queue. All of its partitions are looked at again.
UPDATE mainspring_partitions AS p
SET active = true, open_at = NULL,
    reached = greatest(p.reached, coalesce((SELECT q.reached FROM mainspring_queues AS q WHERE q.name = :queue), 0))
WHERE p.queue = :queue AND p.name = ANY(ARRAY(
    SELECT o.name FROM mainspring_partitions AS o
    WHERE o.queue = :queue AND NOT o.active AND o.paused_at IS NULL
      AND (SELECT min(j.gate) FROM mainspring_jobs AS j
           WHERE j.state = 'queued' AND j.queue = :queue AND j.partition = o.name) IS NOT NULL
    ORDER BY o.name FOR UPDATE
));

-- name: gates_of
-- Takes :doc (ids). Gives id, queue, partition, task, whether it is in a partition ("" is one beside others), and what is
-- set for the queue, each of its partitions, that partition, and the task.
SELECT j.id, j.queue, j.partition, j.task,
       j.partition <> '' OR coalesce(q.partitioned, false)
       OR (SELECT min(o.name) FROM mainspring_partitions AS o WHERE o.queue = j.queue) IS NOT NULL
       OR (SELECT min(a.partition) FROM mainspring_arrivals AS a WHERE a.queue = j.queue AND a.partition > '') IS NOT NULL,
       coalesce(q.defined, '{}'), coalesce(q.limited, '{}'), coalesce(q.each_defined, '{}'),
       coalesce(q.each_limited, '{}'), coalesce(p.defined, '{}'), coalesce(p.limited, '{}'),
       coalesce(t.defined, '{}'), coalesce(t.limited, '{}')
FROM (
    SELECT id, queue, partition, task FROM mainspring_jobs
    WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
    UNION ALL
    SELECT id, queue, partition, task FROM mainspring_finished
    WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
) AS j
LEFT JOIN mainspring_queues AS q ON q.name = j.queue
LEFT JOIN mainspring_partitions AS p ON p.queue = j.queue AND p.name = j.partition
LEFT JOIN mainspring_tasks AS t ON t.name = j.task;

-- name: close_queues
-- Takes :doc ([queue, until]).
INSERT INTO mainspring_queues AS q (name, closed_until)
SELECT v ->> 0, max((v ->> 1)::bigint) FROM json_array_elements(:doc) AS v GROUP BY 1 ORDER BY (v ->> 0) COLLATE "C"
ON CONFLICT (name) DO UPDATE SET closed_until = greatest(q.closed_until, excluded.closed_until);

-- name: close_partitions
-- Takes :doc ([queue, partition, until]).
INSERT INTO mainspring_partitions AS p (queue, name, reached, closed_until, counts_until)
SELECT place.queue, place.name,
       coalesce((SELECT q.reached FROM mainspring_queues AS q WHERE q.name = place.queue), 0), place.until, place.until
FROM (
    SELECT v ->> 0 AS queue, v ->> 1 AS name, max((v ->> 2)::bigint) AS until
    FROM json_array_elements(:doc) AS v GROUP BY 1, 2
) AS place
ORDER BY place.queue COLLATE "C", place.name COLLATE "C"
ON CONFLICT (queue, name) DO UPDATE
SET closed_until = greatest(p.closed_until, excluded.closed_until),
    counts_until = greatest(p.counts_until, excluded.counts_until),
    open_at = CASE WHEN p.open_at IS NOT NULL THEN greatest(p.open_at, excluded.closed_until) END;

-- name: close_tasks
-- Takes :doc ([task, until]) of tasks that have a gate.
INSERT INTO mainspring_tasks AS t (name, closed_until)
SELECT v ->> 0, max((v ->> 1)::bigint) FROM json_array_elements(:doc) AS v GROUP BY 1 ORDER BY (v ->> 0) COLLATE "C"
ON CONFLICT (name) DO UPDATE SET closed_until = greatest(t.closed_until, excluded.closed_until);

-- name: queues_that_fill
-- Takes :doc (queue names). Gives those where a number of waiting jobs may be set: settings, whether it has partitions.
SELECT q.name, q.defined, q.limited, q.each_defined, q.each_limited,
       q.partitioned OR (SELECT min(p.name) FROM mainspring_partitions AS p WHERE p.queue = q.name) IS NOT NULL
       OR (SELECT min(a.partition) FROM mainspring_arrivals AS a WHERE a.queue = q.name AND a.partition > '') IS NOT NULL
FROM mainspring_queues AS q
WHERE q.name = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
  AND (position('max_queued' IN q.defined) > 0 OR position('max_queued' IN q.limited) > 0
       OR position('max_queued' IN q.each_defined) > 0 OR position('max_queued' IN q.each_limited) > 0
       OR EXISTS (SELECT 1 FROM mainspring_partitions AS p
                  WHERE p.queue = q.name
                    AND (p.defined <> '{}' OR p.limited <> '{}' OR p.paused_at IS NOT NULL)));

-- name: settings_of
-- Takes :doc ([queue, partition]). Gives queue, partition and what is set for it.
SELECT p.queue, p.name, p.defined, p.limited
FROM json_array_elements(:doc) AS v
JOIN mainspring_partitions AS p ON p.queue = v ->> 0 AND p.name = v ->> 1;

-- name: waiting_in
-- Takes :doc ([queue, partition, or null for all of it]), :most. Gives them, and how many wait there: no more than
-- about :most are counted, in the order of an index: without an order the planner may rather read the whole table.
SELECT p.queue, p.name, CASE
    WHEN p.name IS NULL THEN
        (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j
                               WHERE j.state = 'queued' AND j.queue = p.queue
                               ORDER BY j.partition, j.gate, j.priority, j.run_at, j.id LIMIT :most) AS queued)
      + (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j
                               WHERE j.state = 'scheduled' AND j.queue = p.queue
                               ORDER BY j.run_at LIMIT :most) AS scheduled)
    ELSE
        (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j
                               WHERE j.state = 'queued' AND j.queue = p.queue AND j.partition = p.name
                               ORDER BY j.gate, j.priority, j.run_at, j.id LIMIT :most) AS queued)
      + CASE WHEN p.name = '' THEN
        (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j
                               WHERE j.state = 'scheduled' AND j.queue = p.queue AND j.partition = ''
                               ORDER BY j.run_at LIMIT :most) AS scheduled)
        ELSE
        (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j
                               WHERE j.state = 'scheduled' AND j.partition <> ''
                                 AND j.queue = p.queue AND j.partition = p.name LIMIT :most) AS scheduled) END
    END
FROM (SELECT v ->> 0 AS queue, v ->> 1 AS name FROM json_array_elements(:doc) AS v) AS p;

-- name: give_back_sequences
-- Takes :doc (ids of jobs that are gone).
DELETE FROM mainspring_keys WHERE until = 'resolved' AND job = ANY(ARRAY(SELECT json_array_elements_text(:doc)));

-- name: give_back_named
-- Takes :doc ([key, job]). Those of these keys that are held by that job.
DELETE FROM mainspring_keys AS k USING json_array_elements(:doc) AS v WHERE k.name = v ->> 0 AND k.job = v ->> 1;

-- name: forget_partitions
-- Takes :now, :limit. Those of which nothing is left: no settings, nothing that waits or runs, no start that counts.
DELETE FROM mainspring_partitions AS p
WHERE p.ctid = ANY(ARRAY(
    SELECT i.ctid FROM mainspring_partitions AS i
    WHERE NOT i.active AND i.open_at IS NULL AND NOT i.waiting AND i.defined = '{}' AND i.limited = '{}'
      AND i.paused_at IS NULL AND i.counts_until <= :now
    ORDER BY i.counts_until LIMIT :limit FOR UPDATE SKIP LOCKED
));

-- --- settings --------------------------------------------------------------------------------------------------------

-- name: define_task
-- Takes :name, :defined (Limits). What the code says; a task without any limit has no gate until somebody says so.
INSERT INTO mainspring_tasks (name, defined)
SELECT :name, :defined
WHERE :defined::text <> '{}' OR EXISTS (SELECT 1 FROM mainspring_tasks AS t WHERE t.name = :name)
ON CONFLICT (name) DO UPDATE SET defined = excluded.defined;

-- name: limit_task
-- Takes :name, :limited.
INSERT INTO mainspring_tasks (name, limited) VALUES (:name, :limited)
ON CONFLICT (name) DO UPDATE SET limited = excluded.limited;

-- name: gate_running
-- Takes :name (of a task). Its running jobs are counted at its gate from now on.
UPDATE mainspring_jobs SET gate = :name
WHERE (state = 'running') IS NOT FALSE AND id = ANY(ARRAY(
    SELECT id FROM mainspring_jobs WHERE state = 'running' AND gate = '' AND task = :name ORDER BY id FOR UPDATE
));

-- name: define_partitions
-- Takes :doc ([name, Limits]), :queue. Gives a row for each of which the code says something else than before.
INSERT INTO mainspring_partitions AS p (queue, name, reached, defined)
SELECT :queue, v ->> 0, coalesce((SELECT q.reached FROM mainspring_queues AS q WHERE q.name = :queue), 0), v ->> 1
FROM json_array_elements(:doc) AS v ORDER BY (v ->> 0) COLLATE "C"
ON CONFLICT (queue, name) DO UPDATE SET defined = excluded.defined WHERE p.defined <> excluded.defined
RETURNING 1;

-- name: undefine_partitions
-- Takes :doc (names), :queue. Gives a row for each other one of which the code has said something so far.
UPDATE mainspring_partitions AS p SET defined = '{}'
WHERE p.queue = :queue AND p.name = ANY(ARRAY(
    SELECT o.name FROM mainspring_partitions AS o
    WHERE o.queue = :queue AND (o.defined <> '{}' OR o.limited <> '{}' OR o.paused_at IS NOT NULL)
      AND o.defined <> '{}' AND o.name <> ALL(ARRAY(SELECT json_array_elements_text(:doc)))
    ORDER BY o.name FOR UPDATE
))
RETURNING 1;

-- name: limit_each
-- Takes :queue, :limited.
INSERT INTO mainspring_queues (name, each_limited) VALUES (:queue, :limited)
ON CONFLICT (name) DO UPDATE SET each_limited = excluded.each_limited;

-- name: limit_partition
-- Takes :queue, :partition, :limited.
INSERT INTO mainspring_partitions (queue, name, reached, limited)
VALUES (:queue, :partition, coalesce((SELECT reached FROM mainspring_queues WHERE name = :queue), 0), :limited)
ON CONFLICT (queue, name) DO UPDATE SET limited = excluded.limited;

-- name: pause_partition
-- Takes :queue, :partition, :paused, :now. Pausing what is paused changes nothing.
INSERT INTO mainspring_partitions AS p (queue, name, reached, paused_at)
VALUES (:queue, :partition, coalesce((SELECT reached FROM mainspring_queues WHERE name = :queue), 0),
        CASE WHEN :paused THEN :now::bigint END)
ON CONFLICT (queue, name) DO UPDATE
SET paused_at = CASE WHEN :paused THEN coalesce(p.paused_at, :now::bigint) END,
    active = p.active AND NOT :paused, open_at = CASE WHEN :paused THEN NULL ELSE p.open_at END;

-- name: list_partitions
-- Takes :limit. Those with settings of their own: what is set and remembered, of its queue and of it.
SELECT p.queue, p.name, p.paused_at, coalesce(q.each_defined, '{}'), coalesce(q.each_limited, '{}'), p.defined,
       p.limited, p.closed_until, p.spent
FROM mainspring_partitions AS p LEFT JOIN mainspring_queues AS q ON q.name = p.queue
WHERE p.defined <> '{}' OR p.limited <> '{}' OR p.paused_at IS NOT NULL
ORDER BY p.queue, p.name LIMIT :limit;

-- name: one_partition
-- Takes :queue, :partition. The same of that one, whatever there is.
SELECT :queue::text, :partition::text, p.paused_at,
       CASE WHEN o.in_one THEN coalesce(q.each_defined, '{}') ELSE '{}' END,
       CASE WHEN o.in_one THEN coalesce(q.each_limited, '{}') ELSE '{}' END,
       coalesce(p.defined, '{}'), coalesce(p.limited, '{}'), coalesce(p.closed_until, 0), p.spent
FROM (SELECT :partition::text <> ''
          OR (SELECT min(name) FROM mainspring_partitions WHERE queue = :queue) IS NOT NULL
          OR EXISTS (SELECT 1 FROM mainspring_queues WHERE name = :queue AND partitioned)
          OR (SELECT min(partition) FROM mainspring_arrivals WHERE queue = :queue AND partition > '') IS NOT NULL
             AS in_one) AS o
LEFT JOIN mainspring_queues AS q ON q.name = :queue
LEFT JOIN mainspring_partitions AS p ON p.queue = :queue AND p.name = :partition;
