-- PostgreSQL's statements. A set arrives as one JSON array in :doc. Where rows are locked, it is in the order of their
-- ids, so that no two transactions wait for each other. "(state = 'running') IS NOT FALSE" keeps the planner from
-- walking the index of running jobs where the rows are named by id.

-- name: schema_version
SELECT coalesce(max(version), 0) FROM mainspring_migrations;

-- name: begin
-- Said outright: the role's or the database's default may be another one.
BEGIN ISOLATION LEVEL READ COMMITTED;

-- name: begin_reading
-- All statements that follow see one state.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- name: commit
COMMIT;

-- name: notify
-- Takes :channel, :payload.
SELECT pg_notify(:channel, :payload);

-- name: clock
-- Gives the server's time in milliseconds since 1970 UTC.
SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;

-- name: insert_single
-- Takes :id, :task, :queue, :args, :priority of a job, :now or NULL, a hint (:channel, :payload) or NULL. Changes a row if
-- its queue is known and plain, else nothing. There is one of these for each single job, so everything in it counts: that
-- nobody has the id is for the caller to know, now() is read once, and the row that counts the job says no more than it must.
WITH counted AS (
    INSERT INTO mainspring_counted (at, queue, task)
    SELECT coalesce(:now, floor(date_part('epoch', now()) * 1000)::bigint), :queue, :task
    FROM mainspring_queues AS q
    WHERE q.name = :queue
      AND NOT (q.partitioned OR position('max_queued' IN q.defined) > 0 OR position('max_queued' IN q.limited) > 0
               OR position('max_queued' IN q.each_defined) > 0 OR position('max_queued' IN q.each_limited) > 0)
      AND (SELECT p.name FROM mainspring_partitions AS p WHERE p.queue = :queue ORDER BY p.name LIMIT 1) IS NULL
      AND (:channel::text IS NULL OR pg_notify(:channel, :payload) IS NOT NULL)
    RETURNING at
)
INSERT INTO mainspring_jobs (id, task, queue, state, args, priority, created_at, run_at, gate)
SELECT :id, :task, :queue, 'queued', :args, :priority, c.at, c.at,
       coalesce((SELECT t.name FROM mainspring_tasks AS t WHERE t.name = :task), '')
FROM counted AS c;

-- name: make_known
-- Takes :queue. Gives it its row before it is served.
INSERT INTO mainspring_queues (name) VALUES (:queue) ON CONFLICT DO NOTHING;

-- name: insert_plain
-- Takes :jobs (id, task, queue, args, priority), :queues, :now, :channel, :payload. This and the two below are functions of
-- the schema: see migrations/0003_plain_jobs.sql.
SELECT mainspring_insert_plain(:jobs::jsonb, :queues, :now, :channel, :payload);

-- name: claim_plain
-- Takes :worker, :rooms (queue, limit, perhaps its head), :limit, :now, :channel, :payload: see
-- migrations/0006_checkpoints.sql, as for the one below.
SELECT * FROM mainspring_claim_plain(:worker, :rooms::jsonb, :limit, :now, :channel, :payload);

-- name: settle_plain
-- Takes :final, :back, :now, :channel, :payload.
SELECT mainspring_settle_plain(:final::jsonb, :back::jsonb, :now, :channel, :payload);

-- name: settle_and_claim_plain
-- Takes what the two above take; the names begin with settle_ and claim_. Gives a row of no interest, then what the
-- settlement gives as rows with the lease -1, then what the claim gives. It waits for nobody's locks for long, since a
-- settlement would keep the claim waiting that has come along.
SELECT set_config('lock_timeout', '50ms', true) AS id, -1 AS lease, '' AS task, '' AS queue, '' AS args, 0 AS priority,
       0 AS attempt, 0 AS crashes, 0 AS postponed, 0::bigint AS created_at, 0::bigint AS run_at, 0::bigint AS started_at,
       '' AS worker, '' AS history, '' AS options, false AS cancel_requested, '' AS partition, 0 AS cost, '' AS flow,
       '' AS checkpoint
UNION ALL
SELECT refused, -1, '', '', '', 0, 0, 0, 0, 0::bigint, 0::bigint, 0::bigint, '', '', '', false, '', 0, '', ''
FROM mainspring_settle_plain(
    :settle_final::jsonb, :settle_back::jsonb, :settle_now, :settle_channel, :settle_payload
) AS refused
UNION ALL
SELECT * FROM mainspring_claim_plain(
    :claim_worker, :claim_rooms::jsonb, :claim_limit, :claim_now, :claim_channel, :claim_payload
);

-- name: insert_plain_jobs
-- Takes :doc (id, task, queue, args, priority of jobs that have nothing else), :now. Gives the ids that were not there
-- yet.
INSERT INTO mainspring_jobs (id, task, queue, state, args, priority, created_at, run_at, gate)
SELECT id, task, queue, 'queued', args, priority, :now, :now,
       coalesce((SELECT t.name FROM mainspring_tasks AS t WHERE t.name = n.task), '')
FROM (
    SELECT value ->> 0 AS id, value ->> 1 AS task, value ->> 2 AS queue, value ->> 3 AS args,
           (value ->> 4)::integer AS priority
    FROM json_array_elements(:doc) AS value
) AS n
WHERE NOT EXISTS (SELECT 1 FROM mainspring_finished AS f WHERE f.id = n.id)
ORDER BY id
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: insert_jobs
-- Takes :doc (NewJob), :now. Gives the ids that were not there yet.
INSERT INTO mainspring_jobs (
    id, task, queue, state, args, priority, created_at, run_at, options, partition, cost, flow, gate
)
SELECT id, task, queue,
       CASE WHEN json_array_length(parents) > 0 THEN 'blocked'
            WHEN coalesce(run_at, :now + delay_ms) > :now THEN 'scheduled' ELSE 'queued' END,
       args, priority, :now, coalesce(run_at, :now + delay_ms), options, partition, cost, flow,
       coalesce((SELECT t.name FROM mainspring_tasks AS t WHERE t.name = n.task), '')
FROM json_to_recordset(:doc) AS n (
    id text, task text, queue text, args text, priority integer, run_at bigint, delay_ms bigint, options text,
    partition text, cost integer, flow text, parents json
)
WHERE NOT EXISTS (SELECT 1 FROM mainspring_finished AS f WHERE f.id = n.id)
ORDER BY id
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: undo_finished
-- Takes :doc (ids). Takes back live jobs that are finished: they ended while they were being inserted a second time.
DELETE FROM mainspring_jobs WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
  AND EXISTS (SELECT 1 FROM mainspring_finished AS f WHERE f.id = mainspring_jobs.id)
RETURNING id;

-- name: known_jobs
-- Takes :doc (ids). Gives those that are there, live or finished.
SELECT value FROM json_array_elements_text(:doc) AS value
WHERE EXISTS (SELECT 1 FROM mainspring_jobs WHERE id = value)
   OR EXISTS (SELECT 1 FROM mainspring_finished WHERE id = value);

-- name: lock_keys
-- Takes :doc (names, sorted). Who plans with these keys is alone with them until the end of its transaction.
SELECT pg_advisory_xact_lock(hashtextextended(name, 7)) FROM json_array_elements_text(:doc) AS name;

-- name: key_holders
-- Takes :doc (names), :now. Gives of the keys among them that are held: name, job, waiting?, created_at, expires_at, its
-- queue and partition, blocked?.
SELECT k.name, k.job, coalesce(j.state <> 'running', false), coalesce(j.created_at, 0), k.expires_at,
       coalesce(j.queue, ''), coalesce(j.partition, ''), coalesce(j.state = 'blocked', false)
FROM mainspring_keys AS k LEFT JOIN mainspring_jobs AS j ON j.id = k.job
WHERE k.name = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
  AND (k.expires_at IS NULL OR k.expires_at > :now)
  AND (k.until = 'expiry' OR j.id IS NOT NULL
       OR (k.until = 'resolved'
           AND EXISTS (SELECT 1 FROM mainspring_finished AS f WHERE f.id = k.job AND f.state = 'dead')))
  AND NOT (k.until = 'started' AND j.state = 'running');

-- name: take_keys
-- Takes :doc (Taken). Whoever held such a key before held it in vain.
INSERT INTO mainspring_keys (name, job, until, expires_at)
SELECT name, job, until, expires_at
FROM json_to_recordset(:doc) AS t (name text, job text, until text, expires_at bigint)
ORDER BY name
ON CONFLICT (name) DO UPDATE SET job = excluded.job, until = excluded.until, expires_at = excluded.expires_at;

-- name: replace_jobs
-- Takes :doc (Replacement), :now. Waiting jobs get the arguments, place, cost, priority, options and time of those that came
-- later, and lose what they have saved. Gives the ids of those that wait still.
UPDATE mainspring_jobs AS j
SET args = r.args, priority = r.priority, options = r.options, run_at = r.run_at, checkpoint = NULL,
    queue = r.queue, partition = r.partition, cost = r.cost,
    state = CASE WHEN j.state = 'blocked' THEN j.state WHEN r.run_at > :now THEN 'scheduled' ELSE 'queued' END
FROM json_to_recordset(:doc) AS r (
    id text, args text, priority integer, options text, run_at bigint, queue text, partition text, cost integer
)
WHERE j.id = r.id AND (j.state <> 'running') IS NOT FALSE
RETURNING j.id;

-- name: give_back_keys_of_started
-- Takes :doc (ids). Here as below: a key that somebody else takes at this moment was held in vain, and is not waited for.
DELETE FROM mainspring_keys WHERE name = ANY(ARRAY(
    SELECT name FROM mainspring_keys
    WHERE until = 'started' AND job = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
    FOR UPDATE SKIP LOCKED
));

-- name: give_back_keys_of_ended
-- Takes :doc (ids). Those that are held for a time stay for that time, and those of a sequence with one that is dead.
DELETE FROM mainspring_keys WHERE name = ANY(ARRAY(
    SELECT k.name FROM mainspring_keys AS k
    WHERE k.until <> 'expiry' AND k.job = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
      AND NOT (k.until = 'resolved'
               AND EXISTS (SELECT 1 FROM mainspring_finished AS f WHERE f.id = k.job AND f.state = 'dead'))
    FOR UPDATE OF k SKIP LOCKED
));

-- name: give_back_keys_of_deleted
-- Takes :doc (ids).
DELETE FROM mainspring_keys WHERE name = ANY(ARRAY(
    SELECT name FROM mainspring_keys WHERE job = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
    FOR UPDATE SKIP LOCKED
));

-- name: give_back_expired_keys
-- Takes :now, :limit.
DELETE FROM mainspring_keys WHERE name = ANY(ARRAY(
    SELECT name FROM mainspring_keys WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
));

-- name: insert_queues
-- Takes :doc (names). A queue is known from its first job on: whoever serves it first gives it its row. Were it given one
-- here, the next insert there would wait for the end of this transaction.
INSERT INTO mainspring_arrivals (queue, partition)
SELECT value, '' FROM json_array_elements_text(:doc) AS value
WHERE NOT EXISTS (SELECT 1 FROM mainspring_queues WHERE name = value)
  AND (SELECT min(a.partition) FROM mainspring_arrivals AS a WHERE a.queue = value) IS NULL;

-- name: move_schedules
-- Takes :doc (Tick). Gives the names of those that stood where the caller saw them: their turn is the caller's.
UPDATE mainspring_schedules AS s SET next_at = t.next_at, last_at = t.expected_at
FROM json_to_recordset(:doc) AS t (schedule text, expected_at bigint, next_at bigint)
WHERE s.name = t.schedule AND s.next_at = t.expected_at AND t.next_at > s.next_at AND s.paused_at IS NULL
RETURNING s.name;

-- name: survey_queues
-- Takes :doc (queue names), :now. Gives per queue: name, open?, limit, running (counted only where there is a limit),
-- anything queued?, the earliest scheduled time, whether it has gates other than its slots.
SELECT q.value, s.paused_at IS NULL, l.slots,
       CASE WHEN l.slots >= 0
            THEN (SELECT count(*) FROM mainspring_jobs AS j WHERE j.state = 'running' AND j.queue = q.value) END,
       (SELECT min(j.partition) FROM mainspring_jobs AS j WHERE j.state = 'queued' AND j.queue = q.value) IS NOT NULL,
       (SELECT min(j.run_at) FROM mainspring_jobs AS j WHERE j.state = 'scheduled' AND j.queue = q.value),
       coalesce(s.partitioned, false) OR s.sequence IS NOT NULL OR coalesce(s.closed_until > :now, false)
       OR coalesce(position('rates' IN s.defined) > 0 OR position('rates' IN s.limited) > 0, false)
       OR EXISTS (SELECT 1 FROM mainspring_tasks)
       OR (SELECT min(a.partition) FROM mainspring_arrivals AS a WHERE a.queue = q.value) IS NOT NULL
       OR (SELECT min(p.name) FROM mainspring_partitions AS p WHERE p.queue = q.value) IS NOT NULL
FROM json_array_elements_text(:doc) AS q (value) LEFT JOIN mainspring_queues AS s ON s.name = q.value
CROSS JOIN LATERAL (
    SELECT ((s.defined::jsonb || s.limited::jsonb) ->> 'concurrency')::integer AS slots
) AS l;

-- name: promote_due
-- Takes :queue, :now, :limit. The longest overdue first; what is left over waits for the next claim. Gives ids.
UPDATE mainspring_jobs SET state = 'queued'
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM mainspring_jobs
    WHERE state = 'scheduled' AND queue = :queue AND run_at <= :now
    ORDER BY run_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
))
RETURNING id;

-- name: claim_jobs
-- Takes :queue, :worker, :now, :limit. Gives claims, in no order.
UPDATE mainspring_jobs
SET state = 'running', lease = lease + 1, attempt = attempt + 1, worker = :worker,
    started_at = greatest(:now, run_at)
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM mainspring_jobs
    WHERE state = 'queued' AND queue = :queue AND partition = '' AND gate = ''
    ORDER BY priority, run_at, id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
))
RETURNING id, lease, task, queue, args, priority, attempt, crashes, postponed, created_at, run_at, started_at, worker,
          history, options, cancel_requested, partition, cost, flow, checkpoint;

-- name: finish_jobs
-- Takes :doc (id, lease, state, attempt, crashes, postponed, result, error, reason, history of final settlements), :now.
-- Moves each job whose lease holds to the finished ones. Gives ids.
WITH s AS (
    SELECT value ->> 0 AS id, (value ->> 1)::integer AS lease, value ->> 2 AS state, (value ->> 3)::integer AS attempt,
           (value ->> 4)::integer AS crashes, (value ->> 5)::integer AS postponed, value ->> 6 AS result,
           value ->> 7 AS error, value ->> 8 AS reason, value ->> 9 AS history
    FROM json_array_elements(:doc) AS value
), gone AS (
    DELETE FROM mainspring_jobs AS j USING s
    WHERE j.id = s.id AND j.lease = s.lease AND (j.state = 'running') IS NOT FALSE
    RETURNING j.id, j.task, j.queue, s.state, j.args, j.priority, s.attempt, s.crashes, s.postponed, j.lease,
              j.created_at, j.run_at, j.started_at, :now AS finished_at, j.worker, j.cancel_requested, j.progress,
              j.progress_text, s.result, s.error,
              coalesce(CASE WHEN j.cancel_requested AND s.state = 'cancelled' THEN j.reason END, s.reason) AS reason,
              s.history, j.options, j.partition, j.cost, j.flow,
              CASE WHEN s.state <> 'completed' THEN j.checkpoint END AS checkpoint
)
INSERT INTO mainspring_finished
SELECT * FROM gone
RETURNING id;

-- name: give_back
-- Takes :doc (Settlement, QUEUED and SCHEDULED ones, sorted by id), :now. Gives ids of those whose lease held.
UPDATE mainspring_jobs AS j
SET run_at = CASE WHEN back.state = 'queued' THEN j.run_at WHEN cancel_requested THEN :now
                  ELSE :now + back.delay_ms END,
    state = CASE WHEN cancel_requested OR back.state = 'queued' OR back.delay_ms <= 0 THEN 'queued'
                 ELSE 'scheduled' END,
    attempt = back.attempt, crashes = back.crashes, postponed = back.postponed,
    history = back.history, error = back.error,
    reason = coalesce(CASE WHEN cancel_requested THEN j.reason END, back.reason)
FROM json_to_recordset(:doc) AS back (
    id text, lease integer, state text, delay_ms bigint, attempt integer, crashes integer, postponed integer,
    history text, error text, reason text
)
WHERE j.id = back.id AND j.lease = back.lease AND (j.state = 'running') IS NOT FALSE
RETURNING j.id;

-- name: write_notes
-- Takes :doc (Note). Gives ids of those whose lease held.
UPDATE mainspring_jobs AS j
SET progress = coalesce(n.progress, j.progress), progress_text = coalesce(n.progress_text, j.progress_text),
    checkpoint = coalesce(n.checkpoint, j.checkpoint)
FROM json_to_recordset(:doc) AS n (
    id text, lease integer, progress double precision, progress_text text, checkpoint text
)
WHERE j.id = n.id AND j.lease = n.lease AND (j.state = 'running') IS NOT FALSE
RETURNING j.id;

-- name: write_log
-- Takes :doc (job, seq, at, text of lines, and pieces of output, whose lease was checked). Those that are there stay as
-- they are.
INSERT INTO mainspring_log (job, seq, at, text)
SELECT value ->> 0, (value ->> 1)::bigint, (value ->> 2)::bigint, value ->> 3
FROM json_array_elements(:doc) AS value
ON CONFLICT (job, seq) DO NOTHING;

-- name: trim_log
-- Takes :doc (ids), :keep. Only so many lines of each stay, the last ones: where the last lease has that many, they are
-- found by their numbers; else they are counted.
DELETE FROM mainspring_log WHERE ctid = ANY(ARRAY(
    SELECT surplus.ctid FROM json_array_elements_text(:doc) AS id CROSS JOIN LATERAL (
        SELECT l.ctid FROM mainspring_log AS l
        WHERE l.job = id AND l.seq >= 0 AND l.seq <= (
            SELECT CASE WHEN max(seq) % 4294967296 >= :keep THEN max(seq) - :keep
                        ELSE (SELECT seq FROM mainspring_log WHERE job = id AND seq >= 0
                              ORDER BY seq DESC LIMIT 1 OFFSET :keep) END
            FROM mainspring_log WHERE job = id
        )
        OFFSET 0
    ) AS surplus
));

-- name: trim_output
-- Takes :doc (job, seq). Pieces of output before that one go.
DELETE FROM mainspring_log WHERE ctid = ANY(ARRAY(
    SELECT surplus.ctid FROM json_array_elements(:doc) AS value CROSS JOIN LATERAL (
        SELECT l.ctid FROM mainspring_log AS l WHERE l.job = value ->> 0 AND l.seq < (value ->> 1)::bigint OFFSET 0
    ) AS surplus
));

-- name: cancel_requests
-- Takes :id (worker). Gives ids and leases of its jobs that somebody asked to cancel.
SELECT id, lease FROM mainspring_jobs WHERE state = 'running' AND worker = :id AND cancel_requested ORDER BY id;

-- name: orphans
-- Takes :now, :limit. Gives ids of running jobs whose worker is gone, locked; walks the running ones alone, since no
-- index has the order of "id || ''".
SELECT id FROM mainspring_jobs
WHERE state = 'running' AND worker NOT IN (SELECT w.id FROM mainspring_workers AS w WHERE w.expires_at > :now)
ORDER BY id || '' LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED;

-- name: claims_of
-- Takes :doc (ids). Gives claims as they stand.
SELECT id, lease + 1, task, queue, args, priority, attempt, crashes, postponed, created_at, run_at, started_at, worker,
       history, options, cancel_requested, partition, cost, flow, checkpoint
FROM mainspring_jobs WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc))) ORDER BY id;

-- name: unheld
-- Takes :worker, :doc (ids). Gives claims of its running jobs, save these.
SELECT id, lease, task, queue, args, priority, attempt, crashes, postponed, created_at, run_at, started_at, worker,
       history, options, cancel_requested, partition, cost, flow, checkpoint
FROM mainspring_jobs
WHERE state = 'running' AND worker = :worker AND id <> ALL(ARRAY(SELECT json_array_elements_text(:doc)));

-- name: lease_anew
-- Takes :doc (ids), :worker.
UPDATE mainspring_jobs SET lease = lease + 1, worker = :worker
WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc)));

-- name: forget_workers
-- Takes :now. Those past their lease that own no more jobs. Gives ids.
DELETE FROM mainspring_workers AS w
WHERE w.expires_at <= :now
  AND NOT EXISTS (SELECT 1 FROM mainspring_jobs AS j WHERE j.state = 'running' AND j.worker = w.id);

-- name: lock_jobs
-- Takes :doc (ids), :states (of live jobs). They stay as they are until the end of the transaction. Gives the ids of
-- those that are in none of these states any more, or gone.
WITH locked AS (
    SELECT id, state FROM mainspring_jobs
    WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc))) ORDER BY id FOR UPDATE
)
SELECT value FROM json_array_elements_text(:doc) AS value
WHERE NOT EXISTS (SELECT 1 FROM locked
                  WHERE id = value AND state = ANY(ARRAY(SELECT json_array_elements_text(:states))));

-- name: ask_to_cancel
-- Takes :doc (ids), :reason.
UPDATE mainspring_jobs SET cancel_requested = true, reason = :reason
WHERE (state = 'running') IS NOT FALSE AND id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
  AND NOT cancel_requested
RETURNING id;

-- name: cancel_waiting
-- Takes :doc (ids), :reason, :now. Moves waiting jobs to the finished ones. Gives id, queue, task.
WITH gone AS (
    DELETE FROM mainspring_jobs
    WHERE (state <> 'running') IS NOT FALSE AND id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
    RETURNING *
)
INSERT INTO mainspring_finished
SELECT id, task, queue, 'cancelled', args, priority, attempt, crashes, postponed, lease, created_at, run_at, started_at,
       :now, worker, cancel_requested, progress, progress_text, NULL, error, :reason, history, options, partition, cost,
       flow, checkpoint
FROM gone
RETURNING id, queue, task;

-- name: revive_finished
-- Takes :doc (ids), :now. Moves final jobs back among the live ones. Gives ids.
WITH back AS (
    DELETE FROM mainspring_finished WHERE id = ANY(ARRAY(
        SELECT id FROM mainspring_finished WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
        ORDER BY id FOR UPDATE
    ))
    RETURNING *
)
INSERT INTO mainspring_jobs (
    id, task, queue, state, args, priority, lease, created_at, run_at, started_at, worker, history, options,
    partition, cost, flow, checkpoint, gate
)
SELECT id, task, queue, 'queued', args, priority, lease, created_at, :now, started_at, worker, history, options,
       partition, cost, flow, checkpoint,
       coalesce((SELECT t.name FROM mainspring_tasks AS t WHERE t.name = back.task), '')
FROM back
RETURNING id;

-- name: hurry_scheduled
-- Takes :doc (ids), :now. Gives ids.
UPDATE mainspring_jobs SET state = 'queued', run_at = :now
WHERE (state = 'scheduled') IS NOT FALSE AND id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
RETURNING id;

-- name: reschedule
-- Takes :doc (ids), :value (run_at), :now. Gives ids.
UPDATE mainspring_jobs SET run_at = :value, state = CASE WHEN :value > :now THEN 'scheduled' ELSE 'queued' END
WHERE (state IN ('scheduled', 'queued')) IS NOT FALSE AND id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
RETURNING id;

-- name: reprioritise
-- Takes :doc (ids), :value. Gives ids.
UPDATE mainspring_jobs SET priority = :value
WHERE (state <> 'running') IS NOT FALSE AND id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
RETURNING id;

-- name: delete_live
-- Takes :doc (ids). Gives ids.
DELETE FROM mainspring_jobs
WHERE (state <> 'running') IS NOT FALSE AND id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
RETURNING id;

-- name: delete_finished
-- Takes :doc (ids). Gives ids.
DELETE FROM mainspring_finished WHERE id = ANY(ARRAY(
    SELECT id FROM mainspring_finished WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
    ORDER BY id FOR UPDATE
))
RETURNING id;

-- name: delete_log
-- Takes :doc (job ids).
DELETE FROM mainspring_log WHERE job = ANY(ARRAY(SELECT json_array_elements_text(:doc)));

-- name: open_day
-- Takes :now. Sees to it that jobs can complete on that day.
SELECT mainspring_open_day(:now);

-- name: open_days
-- Takes :now. Opens the first of this day and the next two that is not open yet: one at a time, since sessions that have
-- missed the opening of a day hear of it with the next one (decision 011).
SELECT mainspring_open_day(missing.at) FROM (
    SELECT day.at
    FROM (SELECT CAST(:now AS bigint) + n * 86400000 AS at FROM generate_series(0, 2) AS n) AS day
    WHERE to_regclass(mainspring_day_of(day.at)) IS NULL ORDER BY day.at LIMIT 1
) AS missing;

-- name: forget_days
-- Takes :before, :limit. Forgets days whose jobs all completed before that, or a part of one. Gives how many are gone.
SELECT mainspring_forget_days(:before, :limit);

-- name: outdated
-- Takes :state, :before, :limit. Gives ids of final jobs that ended before that, locked; those that somebody else is at
-- are for another time. Completed ones go by the day.
SELECT id FROM mainspring_finished
WHERE state = :state AND state <> 'completed' AND finished_at < :before ORDER BY finished_at LIMIT :limit
FOR UPDATE SKIP LOCKED;

-- name: live_jobs
-- Takes :doc (ids). Gives records, in no order.
SELECT id, task, queue, state, args, priority, attempt, crashes, postponed, lease, created_at, run_at, started_at,
       NULL, worker, cancel_requested, progress, progress_text, NULL, error, reason, history, options, partition, cost,
       flow, checkpoint
FROM mainspring_jobs WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc)));

-- name: finished_jobs
-- Takes :doc (ids). Gives records, in no order.
SELECT id, task, queue, state, args, priority, attempt, crashes, postponed, lease, created_at, run_at, started_at,
       finished_at, worker, cancel_requested, progress, progress_text, result, error, reason, history, options,
       partition, cost, flow, checkpoint
FROM mainspring_finished WHERE id = ANY(ARRAY(SELECT json_array_elements_text(:doc)));

-- name: log_of
-- Takes :doc (job, first and last seq wanted). Gives job, seq, at, text, in no order.
SELECT said.job, said.seq, said.at, said.text FROM json_array_elements(:doc) AS value CROSS JOIN LATERAL (
    SELECT l.job, l.seq, l.at, l.text FROM mainspring_log AS l
    WHERE l.job = value ->> 0 AND l.seq BETWEEN (value ->> 1)::bigint AND (value ->> 2)::bigint
    OFFSET 0
) AS said;

-- name: stamps
-- Takes :doc (ids). Gives ids and stamps of those that are there.
SELECT j.id, md5(ROW(
    j.state, j.lease, j.attempt, j.run_at, j.cancel_requested, j.progress, j.progress_text, j.reason,
    (SELECT max(seq) FROM mainspring_log WHERE job = j.id AND seq >= 0),
    (SELECT max(seq) FROM mainspring_log WHERE job = j.id AND seq < 0)
)::text)
FROM mainspring_jobs AS j WHERE j.id = ANY(ARRAY(SELECT json_array_elements_text(:doc)))
UNION ALL
SELECT f.id, md5(ROW(f.state, f.lease, f.finished_at)::text)
FROM mainspring_finished AS f WHERE f.id = ANY(ARRAY(SELECT json_array_elements_text(:doc)));

-- name: put_schedule
-- Takes the columns of a schedule by name.
INSERT INTO mainspring_schedules AS s (
    name, task, queue, args, priority, options, timing, next_at, keys, partition, cost
)
VALUES (:name, :task, :queue, :args, :priority, :options, :timing, :next_at, :keys, :partition, :cost)
ON CONFLICT (name) DO UPDATE
SET next_at = CASE WHEN s.timing = excluded.timing THEN s.next_at ELSE excluded.next_at END,
    task = excluded.task, queue = excluded.queue, args = excluded.args, priority = excluded.priority,
    options = excluded.options, timing = excluded.timing, keys = excluded.keys, partition = excluded.partition,
    cost = excluded.cost
RETURNING 1;

-- name: define_queue
-- Takes :name, :defined (Limits), :each (Limits), :sequence. What the code says; what an operator says stays in force.
INSERT INTO mainspring_queues (name, defined, each_defined, sequence) VALUES (:name, :defined, :each, :sequence)
ON CONFLICT (name) DO UPDATE
SET defined = excluded.defined, each_defined = excluded.each_defined, sequence = excluded.sequence
RETURNING 1;

-- name: limit_queue
-- Takes :name, :limited (JSON object; null: no limit, whatever the code says).
INSERT INTO mainspring_queues (name, limited) VALUES (:name, :limited)
ON CONFLICT (name) DO UPDATE SET limited = excluded.limited
RETURNING 1;

-- name: pause_queue
-- Takes :name, :paused, :now. Pausing what is paused changes nothing.
INSERT INTO mainspring_queues AS q (name, paused_at) VALUES (:name, CASE WHEN :paused THEN :now::bigint END)
ON CONFLICT (name) DO UPDATE SET paused_at = CASE WHEN :paused THEN coalesce(q.paused_at, :now::bigint) END
RETURNING 1;

-- name: list_queues
-- Those that nobody has served yet are known by their first job alone; they are looked up one by one.
WITH RECURSIVE arrived (queue) AS (
    SELECT min(a.queue) FROM mainspring_arrivals AS a
    UNION ALL
    SELECT (SELECT min(a.queue) FROM mainspring_arrivals AS a WHERE a.queue > arrived.queue)
    FROM arrived WHERE arrived.queue IS NOT NULL
)
SELECT name, paused_at, defined, limited, each_defined, each_limited, sequence, closed_until, spent
FROM mainspring_queues
UNION ALL
SELECT a.queue, NULL::bigint, '{}', '{}', '{}', '{}', NULL, 0::bigint, NULL
FROM arrived AS a
WHERE a.queue IS NOT NULL AND NOT EXISTS (SELECT 1 FROM mainspring_queues AS q WHERE q.name = a.queue)
ORDER BY 1;
