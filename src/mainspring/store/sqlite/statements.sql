-- SQLite's statements. A set arrives as one JSON array in :doc and is the outer loop of its statement
-- (CROSS JOIN): left to itself the planner may scan the table instead. Where the choice of an index is not to be left to
-- it either, INDEXED BY names the one, and a "+" keeps it off the index of that column (most of all the one by state,
-- which would walk a whole backlog).

-- name: insert_plain_jobs
-- Takes :doc (id, task, queue, args, priority of jobs that have nothing else), :now. Gives the ids that were not there
-- yet, live or finished. Most jobs are such: what is not in the document need not be looked for in it, which is half of
-- the work. The LIMIT keeps the inner query whole, or each column would be extracted wherever it is named.
INSERT INTO mainspring_jobs (id, task, queue, state, args, priority, created_at, run_at, gate)
SELECT id, task, queue, 'queued', args, priority, :now, :now,
       coalesce((SELECT name FROM mainspring_tasks WHERE name = task), '')
FROM (
    SELECT json_extract(value, '$[0]') AS id,
           json_extract(value, '$[1]') AS task,
           json_extract(value, '$[2]') AS queue,
           json_extract(value, '$[3]') AS args,
           json_extract(value, '$[4]') AS priority
    FROM json_each(:doc) LIMIT -1
) AS new
WHERE NOT EXISTS (SELECT 1 FROM mainspring_finished AS f WHERE f.id = new.id)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: insert_jobs
-- Takes :doc (NewJob), :now. Gives the ids that were not there yet, live or finished.
INSERT INTO mainspring_jobs (
    id, task, queue, state, args, priority, created_at, run_at, options, partition, cost, flow, gate
)
SELECT id, task, queue,
       CASE WHEN blocked THEN 'blocked' WHEN run_at > :now THEN 'scheduled' ELSE 'queued' END,
       args, priority, :now, run_at, options, partition, cost, flow,
       coalesce((SELECT name FROM mainspring_tasks WHERE name = task), '')
FROM (
    SELECT json_extract(value, '$.id') AS id,
           json_extract(value, '$.task') AS task,
           json_extract(value, '$.queue') AS queue,
           json_extract(value, '$.args') AS args,
           json_extract(value, '$.priority') AS priority,
           coalesce(json_extract(value, '$.run_at'), :now + json_extract(value, '$.delay_ms')) AS run_at,
           json_extract(value, '$.options') AS options,
           json_extract(value, '$.partition') AS partition,
           json_extract(value, '$.cost') AS cost,
           json_extract(value, '$.flow') AS flow,
           json_array_length(value, '$.parents') > 0 AS blocked
    FROM json_each(:doc) LIMIT -1
) AS new
WHERE NOT EXISTS (SELECT 1 FROM mainspring_finished AS f WHERE f.id = new.id)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: known_jobs
-- Takes :doc (ids). Gives those that are there, live or finished.
SELECT value FROM json_each(:doc)
WHERE EXISTS (SELECT 1 FROM mainspring_jobs WHERE id = value)
   OR EXISTS (SELECT 1 FROM mainspring_finished WHERE id = value);

-- name: key_holders
-- Takes :doc (names), :now. Gives of the keys among them that are held: name, job, waiting?, created_at, expires_at, its
-- queue and partition, blocked?.
SELECT k.name, k.job, coalesce(j.state <> 'running', 0), coalesce(j.created_at, 0), k.expires_at,
       coalesce(j.queue, ''), coalesce(j.partition, ''), coalesce(j.state = 'blocked', 0)
FROM json_each(:doc) AS n CROSS JOIN mainspring_keys AS k ON k.name = n.value
LEFT JOIN mainspring_jobs AS j ON j.id = k.job
WHERE (k.expires_at IS NULL OR k.expires_at > :now)
  AND (k.until = 'expiry' OR j.id IS NOT NULL
       OR (k.until = 'resolved'
           AND EXISTS (SELECT 1 FROM mainspring_finished AS f WHERE f.id = k.job AND f.state = 'dead')))
  AND NOT (k.until = 'started' AND j.state = 'running');

-- name: take_keys
-- Takes :doc (Taken). Whoever held such a key before held it in vain.
INSERT INTO mainspring_keys (name, job, until, expires_at)
SELECT json_extract(value, '$.name'), json_extract(value, '$.job'), json_extract(value, '$.until'),
       json_extract(value, '$.expires_at')
FROM json_each(:doc) WHERE true
ON CONFLICT (name) DO UPDATE SET job = excluded.job, until = excluded.until, expires_at = excluded.expires_at;

-- name: replace_jobs
-- Takes :doc (Replacement), :now. Waiting jobs get the arguments, place, cost, priority, options and time of those that came
-- later, and lose what they have saved. Gives the ids of those that wait still.
UPDATE mainspring_jobs
SET args = json_extract(r.value, '$.args'), priority = json_extract(r.value, '$.priority'),
    options = json_extract(r.value, '$.options'), run_at = json_extract(r.value, '$.run_at'), checkpoint = NULL,
    queue = json_extract(r.value, '$.queue'), partition = json_extract(r.value, '$.partition'),
    cost = json_extract(r.value, '$.cost'),
    state = CASE WHEN state = 'blocked' THEN state
                 WHEN json_extract(r.value, '$.run_at') > :now THEN 'scheduled' ELSE 'queued' END
FROM json_each(:doc) AS r
WHERE mainspring_jobs.id = json_extract(r.value, '$.id') AND +state <> 'running'
RETURNING mainspring_jobs.id;

-- name: give_back_keys_of_started
-- Takes :doc (ids).
DELETE FROM mainspring_keys WHERE +until = 'started' AND job IN (SELECT value FROM json_each(:doc));

-- name: give_back_keys_of_ended
-- Takes :doc (ids). Those that are held for a time stay for that time, and those of a sequence with one that is dead.
DELETE FROM mainspring_keys
WHERE +until <> 'expiry' AND job IN (SELECT value FROM json_each(:doc))
  AND NOT (until = 'resolved' AND EXISTS (SELECT 1 FROM mainspring_finished WHERE id = job AND state = 'dead'));

-- name: give_back_keys_of_deleted
-- Takes :doc (ids).
DELETE FROM mainspring_keys WHERE job IN (SELECT value FROM json_each(:doc));

-- name: give_back_expired_keys
-- Takes :now, :limit.
DELETE FROM mainspring_keys WHERE name IN (
    SELECT name FROM mainspring_keys WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit
);

-- name: insert_queues
-- Takes :doc (names). A queue is known from its first job on.
INSERT INTO mainspring_queues (name) SELECT value FROM json_each(:doc) WHERE true ON CONFLICT (name) DO NOTHING;

-- name: move_schedules
-- Takes :doc (Tick). Gives the names of those that stood where the caller saw them: their turn is the caller's.
UPDATE mainspring_schedules
SET next_at = json_extract(tick.value, '$.next_at'),
    last_at = json_extract(tick.value, '$.expected_at')
FROM json_each(:doc) AS tick
WHERE name = json_extract(tick.value, '$.schedule')
  AND next_at = json_extract(tick.value, '$.expected_at')
  AND json_extract(tick.value, '$.next_at') > next_at
  AND paused_at IS NULL
RETURNING name;

-- name: survey_queues
-- Takes :doc (queue names), :now. Gives per queue: name, open?, limit, running (counted only where there is a limit),
-- anything queued?, the earliest scheduled time, whether it has gates other than its slots.
SELECT q.value,
       s.paused_at IS NULL,
       json_extract(json_patch(s.defined, s.limited), '$.concurrency') AS slots,
       CASE WHEN json_extract(json_patch(s.defined, s.limited), '$.concurrency') >= 0
            THEN (SELECT count(*) FROM mainspring_jobs INDEXED BY mainspring_jobs_running
                  WHERE state = 'running' AND queue = q.value) END,
       EXISTS (SELECT 1 FROM mainspring_jobs INDEXED BY mainspring_jobs_queued WHERE state = 'queued' AND queue = q.value),
       (SELECT min(run_at) FROM mainspring_jobs INDEXED BY mainspring_jobs_scheduled
        WHERE state = 'scheduled' AND queue = q.value),
       EXISTS (SELECT 1 FROM mainspring_tasks) OR EXISTS (SELECT 1 FROM mainspring_partitions WHERE queue = q.value)
       OR s.partitioned OR s.sequence IS NOT NULL OR s.closed_until > :now OR instr(s.defined, 'rates') OR instr(s.limited, 'rates')
FROM json_each(:doc) AS q LEFT JOIN mainspring_queues AS s ON s.name = q.value;

-- name: promote_due
-- Takes :queue, :now, :limit. The longest overdue first; what is left over waits for the next claim. Gives ids.
UPDATE mainspring_jobs SET state = 'queued'
WHERE rowid IN (
    SELECT rowid FROM mainspring_jobs INDEXED BY mainspring_jobs_scheduled
    WHERE state = 'scheduled' AND queue = :queue AND run_at <= :now
    ORDER BY run_at LIMIT :limit
)
RETURNING id;

-- name: claim_jobs
-- Takes :queue, :worker, :now, :limit. Gives claims, in no order.
UPDATE mainspring_jobs
SET state = 'running', lease = lease + 1, attempt = attempt + 1, worker = :worker, started_at = :now
WHERE rowid IN (
    SELECT rowid FROM mainspring_jobs INDEXED BY mainspring_jobs_queued
    WHERE state = 'queued' AND queue = :queue AND partition = '' AND gate = ''
    ORDER BY priority, run_at, id LIMIT :limit
)
RETURNING id, lease, task, queue, args, priority, attempt, crashes, postponed, created_at, run_at, started_at, worker,
          history, options, cancel_requested, partition, cost, flow, checkpoint;

-- name: finish_jobs
-- Takes :doc (id, lease, state, attempt, crashes, postponed, result, error, reason, history of final settlements), :now.
-- Copies each job whose lease holds to the finished ones. Gives ids. The LIMIT keeps the inner query whole, or each
-- column would be extracted wherever it is named.
INSERT INTO mainspring_finished
SELECT j.id, j.task, j.queue, s.state, j.args, j.priority, s.attempt, s.crashes, s.postponed, j.lease, j.created_at,
       j.run_at, j.started_at, :now, j.worker, j.cancel_requested, j.progress, j.progress_text, s.result, s.error,
       coalesce(CASE WHEN j.cancel_requested AND s.state = 'cancelled' THEN j.reason END, s.reason), s.history,
       j.options, j.partition, j.cost, j.flow, CASE WHEN s.state <> 'completed' THEN j.checkpoint END
FROM (
    SELECT json_extract(value, '$[0]') AS id,
           json_extract(value, '$[1]') AS lease,
           json_extract(value, '$[2]') AS state,
           json_extract(value, '$[3]') AS attempt,
           json_extract(value, '$[4]') AS crashes,
           json_extract(value, '$[5]') AS postponed,
           json_extract(value, '$[6]') AS result,
           json_extract(value, '$[7]') AS error,
           json_extract(value, '$[8]') AS reason,
           json_extract(value, '$[9]') AS history
    FROM json_each(:doc) LIMIT -1
) AS s CROSS JOIN mainspring_jobs AS j ON j.id = s.id
WHERE j.lease = s.lease AND j.state = 'running'
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: forget_finished
-- Takes :doc (ids). The live rows of jobs that were copied to the finished ones.
DELETE FROM mainspring_jobs WHERE id IN (SELECT value FROM json_each(:doc));

-- name: give_back
-- Takes :doc (Settlement, QUEUED and SCHEDULED ones), :now. Gives ids of those whose lease held.
UPDATE mainspring_jobs
SET run_at = CASE WHEN back.state = 'queued' THEN run_at WHEN cancel_requested THEN :now ELSE :now + back.delay_ms END,
    state = CASE WHEN cancel_requested OR back.state = 'queued' OR back.delay_ms <= 0 THEN 'queued' ELSE 'scheduled' END,
    attempt = back.attempt, crashes = back.crashes, postponed = back.postponed,
    history = back.history, error = back.error,
    reason = coalesce(CASE WHEN cancel_requested THEN mainspring_jobs.reason END, back.reason)
FROM (
    SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.lease') AS lease,
           json_extract(value, '$.state') AS state, json_extract(value, '$.delay_ms') AS delay_ms,
           json_extract(value, '$.attempt') AS attempt, json_extract(value, '$.crashes') AS crashes,
           json_extract(value, '$.postponed') AS postponed, json_extract(value, '$.history') AS history,
           json_extract(value, '$.error') AS error, json_extract(value, '$.reason') AS reason
    FROM json_each(:doc)
) AS back
WHERE mainspring_jobs.id = back.id AND mainspring_jobs.lease = back.lease AND +mainspring_jobs.state = 'running'
RETURNING mainspring_jobs.id;

-- name: write_notes
-- Takes :doc (Note). Gives ids of those whose lease held.
UPDATE mainspring_jobs
SET progress = coalesce(json_extract(n.value, '$.progress'), progress),
    progress_text = coalesce(json_extract(n.value, '$.progress_text'), progress_text),
    checkpoint = coalesce(json_extract(n.value, '$.checkpoint'), checkpoint)
FROM json_each(:doc) AS n
WHERE mainspring_jobs.id = json_extract(n.value, '$.id')
  AND lease = json_extract(n.value, '$.lease') AND +state = 'running'
RETURNING mainspring_jobs.id;

-- name: write_log
-- Takes :doc (job, seq, at, text of lines, and pieces of output, whose lease was checked). Those that are there stay as
-- they are.
INSERT INTO mainspring_log (job, seq, at, text)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]')
FROM json_each(:doc) WHERE true
ON CONFLICT (job, seq) DO NOTHING;

-- name: trim_log
-- Takes :doc (ids), :keep. Only so many lines of each stay, the last ones.
DELETE FROM mainspring_log
WHERE (job, seq) IN (
    SELECT l.job, l.seq FROM json_each(:doc) AS n CROSS JOIN mainspring_log AS l ON l.job = n.value
    WHERE l.seq BETWEEN 0 AND (
        SELECT seq FROM mainspring_log WHERE job = n.value AND seq >= 0 ORDER BY seq DESC LIMIT 1 OFFSET :keep
    )
);

-- name: trim_output
-- Takes :doc (job, seq). Pieces of output before that one go.
DELETE FROM mainspring_log
WHERE (job, seq) IN (
    SELECT l.job, l.seq FROM json_each(:doc) AS n
    CROSS JOIN mainspring_log AS l ON l.job = json_extract(n.value, '$[0]') AND l.seq < json_extract(n.value, '$[1]')
);

-- name: cancel_requests
-- Takes :id (worker). Gives ids and leases of its jobs that somebody asked to cancel.
SELECT id, lease FROM mainspring_jobs INDEXED BY mainspring_jobs_running
WHERE state = 'running' AND worker = :id AND cancel_requested ORDER BY id;

-- name: orphans
-- Takes :now, :limit. Gives rowids of running jobs whose worker is gone; walks the running ones alone.
SELECT rowid FROM mainspring_jobs INDEXED BY mainspring_jobs_running
WHERE state = 'running' AND worker NOT IN (SELECT id FROM mainspring_workers WHERE expires_at > :now)
LIMIT :limit;

-- name: claims_of
-- Takes :doc (rowids). Gives claims as they stand.
SELECT j.id, j.lease + 1, j.task, j.queue, j.args, j.priority, j.attempt, j.crashes, j.postponed, j.created_at,
       j.run_at, j.started_at, j.worker, j.history, j.options, j.cancel_requested, j.partition, j.cost, j.flow,
       j.checkpoint
FROM json_each(:doc) AS r CROSS JOIN mainspring_jobs AS j ON j.rowid = r.value;

-- name: unheld
-- Takes :worker, :doc (ids). Gives claims of its running jobs, save these.
SELECT id, lease, task, queue, args, priority, attempt, crashes, postponed, created_at, run_at, started_at, worker,
       history, options, cancel_requested, partition, cost, flow, checkpoint
FROM mainspring_jobs INDEXED BY mainspring_jobs_running
WHERE state = 'running' AND worker = :worker AND id NOT IN (SELECT value FROM json_each(:doc));

-- name: lease_anew
-- Takes :doc (rowids), :worker.
UPDATE mainspring_jobs SET lease = lease + 1, worker = :worker WHERE rowid IN (SELECT value FROM json_each(:doc));

-- name: forget_workers
-- Takes :now. Those past their lease that own no more jobs. Gives ids.
DELETE FROM mainspring_workers
WHERE expires_at <= :now
  AND id NOT IN (
    SELECT worker FROM mainspring_jobs INDEXED BY mainspring_jobs_running WHERE state = 'running' AND worker IS NOT NULL
);

-- name: ask_to_cancel
-- Takes :doc (rowids), :reason.
UPDATE mainspring_jobs SET cancel_requested = 1, reason = :reason
WHERE +state = 'running' AND rowid IN (SELECT value FROM json_each(:doc)) AND NOT cancel_requested
RETURNING id;

-- name: cancel_waiting
-- Takes :doc (rowids), :reason, :now. Copies waiting jobs to the finished ones. Gives id, queue, task.
INSERT INTO mainspring_finished
SELECT j.id, j.task, j.queue, 'cancelled', j.args, j.priority, j.attempt, j.crashes, j.postponed, j.lease, j.created_at,
       j.run_at, j.started_at, :now, j.worker, j.cancel_requested, j.progress, j.progress_text, NULL, j.error, :reason,
       j.history, j.options, j.partition, j.cost, j.flow, j.checkpoint
FROM json_each(:doc) AS r CROSS JOIN mainspring_jobs AS j ON j.rowid = r.value
WHERE j.state <> 'running'
RETURNING id, queue, task;

-- name: revive_finished
-- Takes :doc (rowids), :now. Copies final jobs back among the live ones. Gives ids.
INSERT INTO mainspring_jobs (
    id, task, queue, state, args, priority, lease, created_at, run_at, started_at, worker, history, options,
    partition, cost, flow, checkpoint, gate
)
SELECT f.id, f.task, f.queue, 'queued', f.args, f.priority, f.lease, f.created_at, :now, f.started_at, f.worker,
       f.history, f.options, f.partition, f.cost, f.flow, f.checkpoint,
       coalesce((SELECT name FROM mainspring_tasks WHERE name = f.task), '')
FROM json_each(:doc) AS r CROSS JOIN mainspring_finished AS f ON f.rowid = r.value
WHERE true
RETURNING id;

-- name: forget_revived
-- Takes :doc (ids).
DELETE FROM mainspring_finished WHERE id IN (SELECT value FROM json_each(:doc));

-- name: hurry_scheduled
-- Takes :doc (rowids), :now. Gives ids.
UPDATE mainspring_jobs SET state = 'queued', run_at = :now
WHERE +state = 'scheduled' AND rowid IN (SELECT value FROM json_each(:doc))
RETURNING id;

-- name: reschedule
-- Takes :doc (rowids), :value (run_at), :now. Gives ids.
UPDATE mainspring_jobs SET run_at = :value, state = CASE WHEN :value > :now THEN 'scheduled' ELSE 'queued' END
WHERE +state IN ('scheduled', 'queued') AND rowid IN (SELECT value FROM json_each(:doc))
RETURNING id;

-- name: reprioritise
-- Takes :doc (rowids), :value. Gives ids.
UPDATE mainspring_jobs SET priority = :value
WHERE state <> 'running' AND rowid IN (SELECT value FROM json_each(:doc))
RETURNING id;

-- name: delete_live
-- Takes :doc (rowids). Gives ids.
DELETE FROM mainspring_jobs
WHERE state <> 'running' AND rowid IN (SELECT value FROM json_each(:doc))
RETURNING id;

-- name: delete_finished
-- Takes :doc (rowids). Gives ids.
DELETE FROM mainspring_finished WHERE rowid IN (SELECT value FROM json_each(:doc)) RETURNING id;

-- name: delete_log
-- Takes :doc (job ids).
DELETE FROM mainspring_log WHERE job IN (SELECT value FROM json_each(:doc));

-- name: outdated
-- Takes :state, :before, :limit. Gives rowids of final jobs that ended before that.
SELECT rowid FROM mainspring_finished WHERE state = :state AND finished_at < :before ORDER BY finished_at LIMIT :limit;

-- name: live_jobs
-- Takes :doc (rowids). Gives records, in no order.
SELECT j.id, j.task, j.queue, j.state, j.args, j.priority, j.attempt, j.crashes, j.postponed, j.lease, j.created_at,
       j.run_at, j.started_at, NULL, j.worker, j.cancel_requested, j.progress, j.progress_text, NULL, j.error, j.reason,
       j.history, j.options, j.partition, j.cost, j.flow, j.checkpoint
FROM json_each(:doc) AS r CROSS JOIN mainspring_jobs AS j ON j.rowid = r.value;

-- name: finished_jobs
-- Takes :doc (rowids). Gives records, in no order.
SELECT f.id, f.task, f.queue, f.state, f.args, f.priority, f.attempt, f.crashes, f.postponed, f.lease, f.created_at,
       f.run_at, f.started_at, f.finished_at, f.worker, f.cancel_requested, f.progress, f.progress_text, f.result,
       f.error, f.reason, f.history, f.options, f.partition, f.cost, f.flow, f.checkpoint
FROM json_each(:doc) AS r CROSS JOIN mainspring_finished AS f ON f.rowid = r.value;

-- name: log_of
-- Takes :doc (job, first and last seq wanted). Gives job, seq, at, text, in no order.
SELECT l.job, l.seq, l.at, l.text FROM json_each(:doc) AS n
CROSS JOIN mainspring_log AS l ON l.job = json_extract(n.value, '$[0]')
                              AND l.seq BETWEEN json_extract(n.value, '$[1]') AND json_extract(n.value, '$[2]');

-- name: stamps
-- Takes :doc (ids). Gives ids and stamps of those that are there.
SELECT j.id, json_array(
    j.state, j.lease, j.attempt, j.run_at, j.cancel_requested, j.progress, j.progress_text, j.reason,
    (SELECT max(seq) FROM mainspring_log WHERE job = j.id AND seq >= 0),
    (SELECT max(seq) FROM mainspring_log WHERE job = j.id AND seq < 0)
)
FROM json_each(:doc) AS n CROSS JOIN mainspring_jobs AS j ON j.id = n.value
UNION ALL
SELECT f.id, json_array(f.state, f.lease, f.finished_at)
FROM json_each(:doc) AS n CROSS JOIN mainspring_finished AS f ON f.id = n.value;

-- name: define_queue
-- Takes :name, :defined (Limits), :each (Limits), :sequence. What the code says; what an operator says stays in force.
INSERT INTO mainspring_queues (name, defined, each_defined, sequence) VALUES (:name, :defined, :each, :sequence)
ON CONFLICT (name) DO UPDATE SET defined = :defined, each_defined = :each, sequence = :sequence
RETURNING 1;

-- name: limit_queue
-- Takes :name, :limited (JSON object; null: no limit, whatever the code says).
INSERT INTO mainspring_queues (name, limited) VALUES (:name, :limited)
ON CONFLICT (name) DO UPDATE SET limited = :limited
RETURNING 1;

-- name: pause_queue
-- Takes :name, :paused, :now. Pausing what is paused changes nothing.
INSERT INTO mainspring_queues (name, paused_at) VALUES (:name, CASE WHEN :paused THEN :now END)
ON CONFLICT (name) DO UPDATE SET paused_at = CASE WHEN :paused THEN coalesce(paused_at, :now) END
RETURNING 1;

-- name: put_schedule
-- Takes the columns of a schedule by name.
INSERT INTO mainspring_schedules (name, task, queue, args, priority, options, timing, next_at, keys,
                                  partition, cost)
VALUES (:name, :task, :queue, :args, :priority, :options, :timing, :next_at, :keys, :partition, :cost)
ON CONFLICT (name) DO UPDATE
SET next_at = CASE WHEN timing = :timing THEN next_at ELSE :next_at END,
    task = :task, queue = :queue, args = :args, priority = :priority, options = :options, timing = :timing,
    keys = :keys, partition = :partition, cost = :cost
RETURNING 1;

-- name: list_queues
SELECT name, paused_at, defined, limited, each_defined, each_limited, sequence, closed_until, spent
FROM mainspring_queues ORDER BY name;
