-- SQLite's statements about gates: turns of partitions, and who waits at what. As in statements.sql, a set arrives as one
-- JSON array in :doc and is the outer loop.

-- name: queue_gate
-- Takes :queue, :now. Gives its settings and memory, whether it has partitions, whether time opens one of them now.
SELECT coalesce(q.defined, '{}'), coalesce(q.limited, '{}'), coalesce(q.each_defined, '{}'),
       coalesce(q.each_limited, '{}'), q.sequence, coalesce(q.closed_until, 0), q.spent,
       q.partitioned OR EXISTS (SELECT 1 FROM mainspring_partitions WHERE queue = :queue),
       EXISTS (SELECT 1 FROM mainspring_partitions INDEXED BY mainspring_partitions_open
               WHERE queue = :queue AND open_at <= :now)
FROM (SELECT 1) LEFT JOIN mainspring_queues AS q ON q.name = :queue;

-- name: task_gates
-- Takes :queue. Gives all tasks that have, or had, a gate: name, settings, memory, running (where it matters), the least
-- cost at which jobs of that queue's partitions wait there (NULL: none does).
SELECT name, defined, limited, closed_until, spent,
       CASE WHEN instr(defined, '"concurrency"') OR instr(limited, '"concurrency"')
            THEN (SELECT count(*) FROM mainspring_jobs INDEXED BY mainspring_jobs_gate
                  WHERE state = 'running' AND gate <> '' AND gate = t.name) ELSE 0 END,
       (SELECT min(cost) FROM mainspring_lanes WHERE queue = :queue AND task = t.name)
FROM mainspring_tasks AS t;

-- name: open_by_time
-- Takes :queue, :now, :limit. Gives as many rows as partitions that are active again.
UPDATE mainspring_partitions
SET active = 1, open_at = NULL,
    reached = max(reached, coalesce((SELECT q.reached FROM mainspring_queues AS q WHERE q.name = :queue), 0))
WHERE queue = :queue AND name IN (
    SELECT name FROM mainspring_partitions INDEXED BY mainspring_partitions_open
    WHERE queue = :queue AND open_at <= :now ORDER BY open_at LIMIT :limit
)
RETURNING 1;

-- name: leave_lane
-- Takes :queue, :task, :most, :left (NULL: any), :limit. The partitions whose turn at an open task's gate comes first;
-- gives their names.
DELETE FROM mainspring_lanes
WHERE queue = :queue AND task = :task AND partition IN (
    SELECT partition FROM mainspring_lanes INDEXED BY mainspring_lanes_turn
    WHERE queue = :queue AND task = :task AND (:left IS NULL OR min(cost, :most) <= :left)
    ORDER BY reached, partition LIMIT :limit
)
RETURNING partition;

-- name: activate
-- Takes :doc (names), :queue.
UPDATE mainspring_partitions
SET active = 1, open_at = NULL,
    reached = max(reached, coalesce((SELECT q.reached FROM mainspring_queues AS q WHERE q.name = :queue), 0))
WHERE queue = :queue AND name IN (SELECT value FROM json_each(:doc)) AND NOT active AND paused_at IS NULL;

-- name: next_turns
-- Takes :queue, :reached, :name, :limit. The active partitions after that one, by their turn.
SELECT name, reached, paused_at, defined, limited, closed_until, spent
FROM mainspring_partitions INDEXED BY mainspring_partitions_turn
WHERE queue = :queue AND active AND (reached, name) > (:reached, :name)
ORDER BY reached, name LIMIT :limit;

-- name: running_in
-- Takes :doc (partitions), :queue. Gives name, running.
SELECT p.value, (SELECT count(*) FROM mainspring_jobs INDEXED BY mainspring_jobs_running
                 WHERE state = 'running' AND queue = :queue AND partition = p.value)
FROM json_each(:doc) AS p;

-- name: lanes_in
-- Takes :doc (partitions), :queue. Gives each with the gates that its queued jobs have, each gate once, one by one.
WITH RECURSIVE lane (partition, gate) AS (
    SELECT p.value, (SELECT min(gate) FROM mainspring_jobs INDEXED BY mainspring_jobs_queued
                     WHERE state = 'queued' AND queue = :queue AND partition = p.value)
    FROM json_each(:doc) AS p
    UNION ALL
    SELECT partition, (SELECT min(j.gate) FROM mainspring_jobs AS j INDEXED BY mainspring_jobs_queued
                       WHERE j.state = 'queued' AND j.queue = :queue AND j.partition = lane.partition
                         AND j.gate > lane.gate)
    FROM lane WHERE gate IS NOT NULL
)
SELECT partition, gate FROM lane WHERE gate IS NOT NULL;

-- name: candidates
-- Takes :doc ([partition, gate] of lanes), :queue, :limit. Gives the lane's number, the first jobs of each, in no order.
SELECT lane.key, j.priority, j.run_at, j.id, j.rowid, j.cost, j.task
FROM json_each(:doc) AS lane CROSS JOIN mainspring_jobs AS j
WHERE j.rowid IN (
    SELECT c.rowid FROM mainspring_jobs AS c INDEXED BY mainspring_jobs_queued
    WHERE c.state = 'queued' AND c.queue = :queue
      AND c.partition = json_extract(lane.value, '$[0]') AND c.gate = json_extract(lane.value, '$[1]')
    ORDER BY c.priority, c.run_at, c.id LIMIT :limit
);

-- name: holders
-- Takes :doc ([partition, key]). Gives partition, job, task (only if it is queued), priority, run_at,
-- rowid, cost.
SELECT json_extract(p.value, '$[0]'), k.job, CASE WHEN j.state = 'queued' THEN j.task END, j.priority, j.run_at, j.rowid,
       j.cost
FROM json_each(:doc) AS p CROSS JOIN mainspring_keys AS k ON k.name = json_extract(p.value, '$[1]')
LEFT JOIN mainspring_jobs AS j ON j.id = k.job
LEFT JOIN mainspring_finished AS f ON f.id = k.job
WHERE j.id IS NOT NULL OR (k.until = 'resolved' AND f.state = 'dead');

-- name: regate
-- Takes :doc (partitions), :queue, :limit. Jobs that were there before their task had a gate, of the first so many in
-- each partition that have none. Gives a row for each.
UPDATE mainspring_jobs SET gate = task
WHERE rowid IN (
    SELECT j.rowid FROM json_each(:doc) AS p CROSS JOIN mainspring_jobs AS j
    WHERE j.rowid IN (
        SELECT c.rowid FROM mainspring_jobs AS c INDEXED BY mainspring_jobs_queued
        WHERE c.state = 'queued' AND c.queue = :queue AND c.partition = p.value AND c.gate = ''
        ORDER BY c.priority, c.run_at, c.id LIMIT :limit
    ) AND j.task IN (SELECT name FROM mainspring_tasks)
)
RETURNING 1;

-- name: claim_rows
-- Takes :doc (rowids), :worker, :now. Gives claims, in no order.
UPDATE mainspring_jobs
SET state = 'running', lease = lease + 1, attempt = attempt + 1, worker = :worker, started_at = :now,
    gate = coalesce((SELECT name FROM mainspring_tasks WHERE name = task), '')
WHERE rowid IN (SELECT value FROM json_each(:doc))
RETURNING id, lease, task, queue, args, priority, attempt, crashes, postponed, created_at, run_at, started_at, worker,
          history, options, cancel_requested, partition, cost, flow, checkpoint;

-- name: write_turns
-- Takes :doc ([name, reached, active, open_at, waiting, spent, counts_until]) of partitions that are there, :queue.
INSERT INTO mainspring_partitions (queue, name, reached, active, open_at, waiting, spent, counts_until)
SELECT :queue, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
       json_extract(value, '$[6]')
FROM json_each(:doc) WHERE true
ON CONFLICT (queue, name) DO UPDATE
SET reached = excluded.reached, active = excluded.active, open_at = excluded.open_at, waiting = excluded.waiting,
    spent = excluded.spent, counts_until = max(counts_until, excluded.counts_until);

-- name: any_lane
SELECT 1 FROM mainspring_lanes LIMIT 1;

-- name: forget_lanes
-- Takes :doc ([queue, partition]).
DELETE FROM mainspring_lanes
WHERE (queue, partition) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:doc));

-- name: wait_in_lanes
-- Takes :doc ([partition, task, reached, cost]), :queue.
INSERT INTO mainspring_lanes (queue, partition, task, reached, cost)
SELECT :queue, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]')
FROM json_each(:doc) WHERE true
ON CONFLICT DO UPDATE SET reached = excluded.reached, cost = excluded.cost;

-- name: write_queue
-- Takes :queue, :reached, :spent.
UPDATE mainspring_queues SET reached = max(reached, :reached), spent = :spent WHERE name = :queue;

-- name: write_tasks
-- Takes :doc ([name, spent]) of tasks that have a gate.
INSERT INTO mainspring_tasks (name, spent)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:doc) WHERE true
ON CONFLICT (name) DO UPDATE SET spent = excluded.spent;

-- name: partitions_open_at
-- Takes :queue. When time opens the first of its partitions that wait for it.
SELECT min(open_at) FROM mainspring_partitions INDEXED BY mainspring_partitions_open
WHERE queue = :queue AND open_at IS NOT NULL;

-- name: lanes_open_at
-- Takes :queue. Gives tasks with the least cost at which jobs of its partitions wait at their gates.
SELECT name, (SELECT min(cost) FROM mainspring_lanes WHERE queue = :queue AND task = name) FROM mainspring_tasks;

-- name: any_partition
-- Whether any queue has, or had, partitions: most stores need not look for each job's.
SELECT 1 WHERE EXISTS (SELECT 1 FROM mainspring_queues INDEXED BY mainspring_queues_partitioned WHERE partitioned)
            OR EXISTS (SELECT 1 FROM mainspring_partitions);

-- name: part_queues
-- Takes :doc (queue names). They have jobs in partitions.
UPDATE mainspring_queues SET partitioned = 1 WHERE name IN (SELECT value FROM json_each(:doc)) AND NOT partitioned;

-- name: places_of
-- Takes :doc (ids). Gives queue and partition of each of these jobs, live or finished.
SELECT j.queue, j.partition FROM json_each(:doc) AS i CROSS JOIN mainspring_jobs AS j ON j.id = i.value
UNION ALL
SELECT f.queue, f.partition FROM json_each(:doc) AS i CROSS JOIN mainspring_finished AS f ON f.id = i.value;

-- name: places_of_live
-- Takes :doc (rowids).
SELECT j.queue, j.partition FROM json_each(:doc) AS r CROSS JOIN mainspring_jobs AS j ON j.rowid = r.value;

-- name: places_of_finished
-- Takes :doc (rowids).
SELECT f.queue, f.partition FROM json_each(:doc) AS r CROSS JOIN mainspring_finished AS f ON f.rowid = r.value;

-- name: wake_places
-- Takes :doc ([queue, partition]). Those with queued jobs become active; others no longer wait for a time. Outside of any
-- partition a job is in "", which is one only where its queue has others.
WITH named (queue, name) AS MATERIALIZED (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:doc)
), place (queue, name, queued, known) AS MATERIALIZED (
    SELECT queue, name,
           EXISTS (SELECT 1 FROM mainspring_jobs AS j INDEXED BY mainspring_jobs_queued
                   WHERE j.state = 'queued' AND j.queue = named.queue AND j.partition = named.name),
           EXISTS (SELECT 1 FROM mainspring_partitions AS p WHERE p.queue = named.queue AND p.name = named.name)
    FROM named
)
INSERT INTO mainspring_partitions (queue, name, active, reached)
SELECT queue, name, queued, coalesce((SELECT q.reached FROM mainspring_queues AS q WHERE q.name = queue), 0)
FROM place
WHERE known OR queued AND (name <> ''
           OR EXISTS (SELECT 1 FROM mainspring_queues AS q WHERE q.name = place.queue AND partitioned)
           OR EXISTS (SELECT 1 FROM mainspring_partitions AS p WHERE p.queue = place.queue))
ON CONFLICT (queue, name) DO UPDATE
SET active = excluded.active, open_at = NULL, waiting = 0, reached = max(reached, excluded.reached)
WHERE NOT active AND paused_at IS NULL AND (excluded.active OR open_at IS NOT NULL OR waiting);

-- name: wake_queue
-- Takes :queue. All of its partitions are looked at again.
UPDATE mainspring_partitions
SET active = 1, open_at = NULL,
    reached = max(reached, coalesce((SELECT q.reached FROM mainspring_queues AS q WHERE q.name = :queue), 0))
WHERE queue = :queue AND NOT active AND paused_at IS NULL
  AND EXISTS (SELECT 1 FROM mainspring_jobs AS j INDEXED BY mainspring_jobs_queued
              WHERE j.state = 'queued' AND j.queue = :queue AND j.partition = mainspring_partitions.name);

-- name: gates_of
-- Takes :doc (ids). Gives id, queue, partition, task, whether it is in a partition ("" is one beside others), and what is
-- set for the queue, each of its partitions, that partition, and the task.
SELECT j.id, j.queue, j.partition, j.task,
       j.partition <> '' OR q.partitioned OR EXISTS (SELECT 1 FROM mainspring_partitions WHERE queue = j.queue),
       coalesce(q.defined, '{}'), coalesce(q.limited, '{}'), coalesce(q.each_defined, '{}'),
       coalesce(q.each_limited, '{}'), coalesce(p.defined, '{}'), coalesce(p.limited, '{}'),
       coalesce(t.defined, '{}'), coalesce(t.limited, '{}')
FROM (
    SELECT j.id, j.queue, j.partition, j.task
    FROM json_each(:doc) AS i CROSS JOIN mainspring_jobs AS j ON j.id = i.value
    UNION ALL
    SELECT f.id, f.queue, f.partition, f.task
    FROM json_each(:doc) AS i CROSS JOIN mainspring_finished AS f ON f.id = i.value
) AS j
LEFT JOIN mainspring_queues AS q ON q.name = j.queue
LEFT JOIN mainspring_partitions AS p ON p.queue = j.queue AND p.name = j.partition
LEFT JOIN mainspring_tasks AS t ON t.name = j.task;

-- name: close_queues
-- Takes :doc ([queue, until]).
INSERT INTO mainspring_queues (name, closed_until)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:doc) WHERE true
ON CONFLICT (name) DO UPDATE SET closed_until = max(closed_until, excluded.closed_until);

-- name: close_partitions
-- Takes :doc ([queue, partition, until]).
INSERT INTO mainspring_partitions (queue, name, reached, closed_until, counts_until)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),
       coalesce((SELECT reached FROM mainspring_queues WHERE name = json_extract(value, '$[0]')), 0),
       json_extract(value, '$[2]'), json_extract(value, '$[2]')
FROM json_each(:doc) WHERE true
ON CONFLICT (queue, name) DO UPDATE
SET closed_until = max(closed_until, excluded.closed_until), counts_until = max(counts_until, excluded.counts_until),
    open_at = max(open_at, excluded.closed_until);

-- name: close_tasks
-- Takes :doc ([task, until]) of tasks that have a gate.
INSERT INTO mainspring_tasks (name, closed_until)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:doc) WHERE true
ON CONFLICT (name) DO UPDATE SET closed_until = max(closed_until, excluded.closed_until);

-- name: queues_that_fill
-- Takes :doc (queue names). Gives those where a number of waiting jobs may be set: settings, whether it has partitions.
SELECT q.name, q.defined, q.limited, q.each_defined, q.each_limited,
       q.partitioned OR EXISTS (SELECT 1 FROM mainspring_partitions WHERE queue = q.name)
FROM json_each(:doc) AS n CROSS JOIN mainspring_queues AS q ON q.name = n.value
WHERE instr(q.defined, 'max_queued') OR instr(q.limited, 'max_queued')
   OR instr(q.each_defined, 'max_queued') OR instr(q.each_limited, 'max_queued')
   OR EXISTS (SELECT 1 FROM mainspring_partitions INDEXED BY mainspring_partitions_set
              WHERE queue = q.name AND (defined <> '{}' OR limited <> '{}' OR paused_at IS NOT NULL));

-- name: settings_of
-- Takes :doc ([queue, partition]). Gives queue, partition and what is set for it.
SELECT p.queue, p.name, p.defined, p.limited
FROM json_each(:doc) AS n CROSS JOIN mainspring_partitions AS p
     ON p.queue = json_extract(n.value, '$[0]') AND p.name = json_extract(n.value, '$[1]');

-- name: waiting_in
-- Takes :doc ([queue, partition, or null for all of it]), :most. Gives them, and how many wait there: no more than
-- about :most are counted.
SELECT p.queue, p.name, CASE
    WHEN p.name IS NULL THEN
        (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j INDEXED BY mainspring_jobs_queued
                               WHERE j.state = 'queued' AND j.queue = p.queue LIMIT :most))
      + (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j INDEXED BY mainspring_jobs_scheduled
                               WHERE j.state = 'scheduled' AND j.queue = p.queue LIMIT :most))
    ELSE
        (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j INDEXED BY mainspring_jobs_queued
                               WHERE j.state = 'queued' AND j.queue = p.queue AND j.partition = p.name LIMIT :most))
      + CASE WHEN p.name = '' THEN
        (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j INDEXED BY mainspring_jobs_scheduled
                               WHERE j.state = 'scheduled' AND j.queue = p.queue AND j.partition = '' LIMIT :most))
        ELSE
        (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j INDEXED BY mainspring_jobs_later
                               WHERE j.state = 'scheduled' AND j.partition <> ''
                                 AND j.queue = p.queue AND j.partition = p.name LIMIT :most)) END
    END
FROM (SELECT json_extract(value, '$[0]') AS queue, json_extract(value, '$[1]') AS name FROM json_each(:doc)) AS p;

-- name: give_back_sequences
-- Takes :doc (ids of jobs that are gone).
DELETE FROM mainspring_keys WHERE +until = 'resolved' AND job IN (SELECT value FROM json_each(:doc));

-- name: give_back_named
-- Takes :doc ([key, job]). Those of these keys that are held by that job.
DELETE FROM mainspring_keys
WHERE (name, job) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:doc));

-- name: forget_partitions
-- Takes :now, :limit. Those of which nothing is left: no settings, nothing that waits or runs, no start that counts, no
-- turn that it has had too early.
DELETE FROM mainspring_partitions
WHERE (queue, name) IN (
    SELECT queue, name FROM mainspring_partitions AS p INDEXED BY mainspring_partitions_idle
    WHERE NOT active AND open_at IS NULL AND NOT waiting AND defined = '{}' AND limited = '{}' AND paused_at IS NULL
      AND counts_until <= :now
      AND reached <= coalesce((SELECT q.reached FROM mainspring_queues AS q WHERE q.name = p.queue), 0)
    ORDER BY counts_until LIMIT :limit
);

-- --- settings --------------------------------------------------------------------------------------------------------

-- name: define_task
-- Takes :name, :defined (Limits). What the code says; a task without any limit has no gate until somebody says so.
INSERT INTO mainspring_tasks (name, defined)
SELECT :name, :defined WHERE :defined <> '{}' OR EXISTS (SELECT 1 FROM mainspring_tasks WHERE name = :name)
ON CONFLICT (name) DO UPDATE SET defined = :defined;

-- name: limit_task
-- Takes :name, :limited.
INSERT INTO mainspring_tasks (name, limited) VALUES (:name, :limited)
ON CONFLICT (name) DO UPDATE SET limited = :limited;

-- name: gate_running
-- Takes :name (of a task). Its running jobs are counted at its gate from now on.
UPDATE mainspring_jobs SET gate = :name WHERE rowid IN (
    SELECT rowid FROM mainspring_jobs INDEXED BY mainspring_jobs_running
    WHERE state = 'running' AND gate = '' AND task = :name
);

-- name: define_partitions
-- Takes :doc ([name, Limits]), :queue. Gives a row for each of which the code says something else than before.
INSERT INTO mainspring_partitions (queue, name, reached, defined)
SELECT :queue, json_extract(value, '$[0]'),
       coalesce((SELECT reached FROM mainspring_queues WHERE name = :queue), 0), json_extract(value, '$[1]')
FROM json_each(:doc) WHERE true
ON CONFLICT (queue, name) DO UPDATE SET defined = excluded.defined WHERE defined <> excluded.defined
RETURNING 1;

-- name: undefine_partitions
-- Takes :doc (names), :queue. Gives a row for each other one of which the code has said something so far.
UPDATE mainspring_partitions SET defined = '{}'
WHERE (queue, name) IN (
    SELECT queue, name FROM mainspring_partitions INDEXED BY mainspring_partitions_set
    WHERE queue = :queue AND (defined <> '{}' OR limited <> '{}' OR paused_at IS NOT NULL)
      AND defined <> '{}' AND name NOT IN (SELECT value FROM json_each(:doc))
)
RETURNING 1;

-- name: limit_each
-- Takes :queue, :limited.
INSERT INTO mainspring_queues (name, each_limited) VALUES (:queue, :limited)
ON CONFLICT (name) DO UPDATE SET each_limited = :limited;

-- name: limit_partition
-- Takes :queue, :partition, :limited.
INSERT INTO mainspring_partitions (queue, name, reached, limited)
VALUES (:queue, :partition, coalesce((SELECT reached FROM mainspring_queues WHERE name = :queue), 0), :limited)
ON CONFLICT (queue, name) DO UPDATE SET limited = :limited;

-- name: pause_partition
-- Takes :queue, :partition, :paused, :now. Pausing what is paused changes nothing.
INSERT INTO mainspring_partitions (queue, name, reached, paused_at)
VALUES (:queue, :partition, coalesce((SELECT reached FROM mainspring_queues WHERE name = :queue), 0),
        CASE WHEN :paused THEN :now END)
ON CONFLICT (queue, name) DO UPDATE
SET paused_at = CASE WHEN :paused THEN coalesce(paused_at, :now) END,
    active = active AND NOT :paused, open_at = CASE WHEN :paused THEN NULL ELSE open_at END;

-- name: list_partitions
-- Takes :limit. Those with settings of their own: what is set and remembered, of its queue and of it.
SELECT p.queue, p.name, p.paused_at, coalesce(q.each_defined, '{}'), coalesce(q.each_limited, '{}'), p.defined,
       p.limited, p.closed_until, p.spent
FROM mainspring_partitions AS p INDEXED BY mainspring_partitions_set
LEFT JOIN mainspring_queues AS q ON q.name = p.queue
WHERE p.defined <> '{}' OR p.limited <> '{}' OR p.paused_at IS NOT NULL
ORDER BY p.queue, p.name LIMIT :limit;

-- name: one_partition
-- Takes :queue, :partition. The same of that one, whatever there is.
SELECT :queue, :partition, p.paused_at,
       CASE WHEN in_one THEN coalesce(q.each_defined, '{}') ELSE '{}' END,
       CASE WHEN in_one THEN coalesce(q.each_limited, '{}') ELSE '{}' END,
       coalesce(p.defined, '{}'), coalesce(p.limited, '{}'), coalesce(p.closed_until, 0), p.spent
FROM (SELECT :partition <> '' OR EXISTS (SELECT 1 FROM mainspring_partitions WHERE queue = :queue)
          OR EXISTS (SELECT 1 FROM mainspring_queues WHERE name = :queue AND partitioned) AS in_one)
LEFT JOIN mainspring_queues AS q ON q.name = :queue
LEFT JOIN mainspring_partitions AS p ON p.queue = :queue AND p.name = :partition;
