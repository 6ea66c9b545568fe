-- What a job has saved of its work, for its next run: JSON text. Kept with one that has died or was cancelled, too, since it
-- may be revived. A claim brings it, and so its function gives one more column; the settlement's keeps it.
ALTER TABLE mainspring_jobs ADD COLUMN checkpoint text;
ALTER TABLE mainspring_finished ADD COLUMN checkpoint text;

DROP FUNCTION mainspring_claim_plain(text, jsonb, integer, bigint, text, text);

-- Takes a worker, rooms (JSON: queue, limit, and perhaps its head: priority, run_at, id), how many jobs in all, the time
-- or NULL, a hint or NULL. Promotes what is due and claims: from each queue's head or, where none is given, its
-- beginning; then, with the room that is left, from the beginnings of those that have a head. Gives claims, look by look
-- but in no order within one, and a last row about the whole, whose id is NULL: lease says what was done (0: the worker
-- is not alive; 1: claimed; 2: nothing, not plain), created_at the time, run_at when the next scheduled job is due,
-- history the looks (JSON: queue, from its beginning?, how many microseconds it took to find the jobs), cancel_requested
-- whether claims may have parents.
CREATE FUNCTION mainspring_claim_plain(by text, rooms jsonb, most integer, at bigint, channel text, payload text)
RETURNS TABLE (
    id text, lease integer, task text, queue text, args text, priority integer, attempt integer, crashes integer,
    postponed integer, created_at bigint, run_at bigint, started_at bigint, worker text, history text, options text,
    cancel_requested boolean, partition text, cost integer, flow text, checkpoint text
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_sort = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    time bigint := coalesce(at, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint);
    rest integer := most;
    taken integer;
    given integer[] := '{}';
    found tid[];
    again boolean;
    began timestamptz;
    looks jsonb := '[]';
    limited boolean;
    open text[];
    due text[];
    next_due bigint;
    room record;
    each text;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM mainspring_workers AS w WHERE w.id = by AND w.expires_at > time) THEN
        RETURN QUERY SELECT NULL, 0, '', '', '', 0, 0, 0, 0, time, NULL::bigint, 0::bigint, '', '', '', false, '', 0, '',
                            '';
        RETURN;
    END IF;
    SELECT current_setting('transaction_isolation') <> 'read committed'
           OR coalesce(bool_or(s.limited AND (s.queued OR s.scheduled_at <= time)), false),
           coalesce(array_agg(s.name) FILTER (WHERE s.unpaused), '{}'),
           array_agg(s.name) FILTER (WHERE s.scheduled_at <= time),
           min(s.scheduled_at)
    INTO limited, open, due, next_due
    FROM (
        SELECT n.name, q.paused_at IS NULL AS unpaused,
               (SELECT min(j.partition) FROM mainspring_jobs AS j
                WHERE j.state = 'queued' AND j.queue = n.name) IS NOT NULL AS queued,
               (SELECT min(j.run_at) FROM mainspring_jobs AS j
                WHERE j.state = 'scheduled' AND j.queue = n.name) AS scheduled_at,
               coalesce(q.partitioned OR q.sequence IS NOT NULL OR q.closed_until > time
                        OR q.defined <> '{}' OR q.limited <> '{}', false)
               OR EXISTS (SELECT 1 FROM mainspring_tasks)
               OR (SELECT min(a.partition) FROM mainspring_arrivals AS a WHERE a.queue = n.name) IS NOT NULL
               OR (SELECT min(p.name) FROM mainspring_partitions AS p WHERE p.queue = n.name) IS NOT NULL AS limited
        FROM (SELECT DISTINCT value ->> 0 AS name FROM jsonb_array_elements(rooms) AS value) AS n
        LEFT JOIN mainspring_queues AS q ON q.name = n.name
    ) AS s;
    IF limited THEN
        RETURN QUERY SELECT NULL, 2, '', '', '', 0, 0, 0, 0, time, NULL::bigint, 0::bigint, '', '', '', false, '', 0, '',
                            '';
        RETURN;
    END IF;
    IF due IS NOT NULL THEN
        FOREACH each IN ARRAY due LOOP
            UPDATE mainspring_jobs AS j SET state = 'queued'
            WHERE j.ctid = ANY(ARRAY(
                SELECT o.ctid FROM mainspring_jobs AS o
                WHERE o.state = 'scheduled' AND o.queue = each AND o.run_at <= time
                ORDER BY o.run_at LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED
            ));
        END LOOP;
        SELECT min(s.at) INTO next_due
        FROM jsonb_array_elements(rooms) AS value
        CROSS JOIN LATERAL (SELECT min(j.run_at) AS at FROM mainspring_jobs AS j
                            WHERE j.state = 'scheduled' AND j.queue = value ->> 0) AS s;
    END IF;
    FOREACH again IN ARRAY ARRAY[false, true] LOOP
        FOR room IN
            SELECT r.number, r.queue, r.size, r.head IS NULL AS whole,
                   coalesce((r.head ->> 0)::integer, -1000) AS priority,
                   coalesce((r.head ->> 1)::bigint, 0) AS run_at, coalesce(r.head ->> 2, '') AS id
            FROM (
                SELECT number::integer, value ->> 0 AS queue,
                       (value ->> 1)::integer - coalesce(given[number::integer], 0) AS size,
                       CASE WHEN NOT again THEN value -> 2 END AS head
                FROM jsonb_array_elements(rooms) WITH ORDINALITY AS one (value, number)
                WHERE NOT again OR value -> 2 IS NOT NULL
            ) AS r
        LOOP
            EXIT WHEN rest <= 0;
            CONTINUE WHEN room.size <= 0 OR room.queue <> ALL(open);
            began := clock_timestamp();
            found := ARRAY(
                SELECT o.ctid FROM mainspring_jobs AS o
                WHERE o.state = 'queued' AND o.queue = room.queue AND o.partition = '' AND o.gate = ''
                  AND (o.priority, o.run_at, o.id) >= (room.priority, room.run_at, room.id)
                ORDER BY o.priority, o.run_at, o.id LIMIT least(room.size, rest) FOR NO KEY UPDATE SKIP LOCKED
            );
            looks := looks || jsonb_build_array(jsonb_build_array(
                room.queue, room.whole, floor(extract(epoch FROM clock_timestamp() - began) * 1000000)::bigint
            ));
            taken := cardinality(found);
            IF room.whole AND taken < least(room.size, rest) THEN
                -- There is no more: where the queue is named once more, it is not walked through again.
                open := array_remove(open, room.queue);
            END IF;
            CONTINUE WHEN taken = 0;
            given[room.number] := taken;
            rest := rest - taken;
            RETURN QUERY
            UPDATE mainspring_jobs AS j
            SET state = 'running', lease = j.lease + 1, attempt = j.attempt + 1, worker = by,
                started_at = greatest(time, j.run_at)  -- it may have come since, by a clock that was read later
            WHERE j.ctid = ANY(found)
            RETURNING j.id, j.lease, j.task, j.queue, j.args, j.priority, j.attempt, j.crashes, j.postponed,
                      j.created_at, j.run_at, j.started_at, j.worker, j.history, j.options, j.cancel_requested,
                      j.partition, j.cost, j.flow, j.checkpoint;
            IF EXISTS (SELECT 1 FROM mainspring_keys) THEN
                DELETE FROM mainspring_keys AS k WHERE k.name = ANY(ARRAY(
                    SELECT o.name FROM mainspring_keys AS o
                    WHERE o.until = 'started' AND o.job IN (
                        SELECT j.id FROM mainspring_jobs AS j
                        WHERE j.state = 'running' AND j.queue = room.queue AND j.partition = '' AND j.gate = ''
                          AND j.worker = by
                    )
                    FOR UPDATE SKIP LOCKED
                ));
            END IF;
        END LOOP;
    END LOOP;
    IF rest < most AND channel IS NOT NULL THEN
        PERFORM pg_notify(channel, payload);
    END IF;
    RETURN QUERY SELECT NULL, 1, '', '', '', 0, 0, 0, 0, time, next_due, 0::bigint, '', looks::text, '',
                        rest < most AND EXISTS (SELECT 1 FROM mainspring_edges), '', 0, '', '';
END $$;

-- Takes settlements of jobs that have ended (JSON as `finish_jobs`) and of those that go back (JSON as `give_back`), the
-- time or NULL, a hint or NULL. Gives the ids of those whose lease did not hold, or one NULL: not plain.
CREATE OR REPLACE FUNCTION mainspring_settle_plain(final jsonb, back jsonb, at bigint, channel text, payload text)
RETURNS SETOF text LANGUAGE plpgsql
SET enable_seqscan = off SET enable_nestloop = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    time bigint := coalesce(at, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint);
    ids text[] := ARRAY(SELECT value ->> 0 FROM jsonb_array_elements(final) AS value);
    done text[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed'
    OR EXISTS (SELECT 1 FROM mainspring_partitions)
    OR EXISTS (SELECT 1 FROM mainspring_arrivals WHERE partition <> '')
    OR EXISTS (SELECT 1 FROM mainspring_queues WHERE partitioned)
    OR EXISTS (SELECT 1 FROM mainspring_edges)
        AND EXISTS (SELECT 1 FROM mainspring_edges AS e WHERE e.parent = ANY(ids)) THEN
        RETURN NEXT NULL;
        RETURN;
    END IF;
    IF to_regclass(mainspring_day_of(time)) IS NULL THEN
        PERFORM mainspring_open_day(time);
    END IF;
    WITH s AS (
        SELECT value ->> 0 AS id, (value ->> 1)::integer AS lease, value ->> 2 AS state,
               (value ->> 3)::integer AS attempt, (value ->> 4)::integer AS crashes, (value ->> 5)::integer AS postponed,
               value ->> 6 AS result, value ->> 7 AS error, value ->> 8 AS reason, value ->> 9 AS history
        FROM jsonb_array_elements(final) AS value
    ), gone AS (
        DELETE FROM mainspring_jobs AS j USING s
        WHERE j.id = ANY(ids) AND j.id = s.id AND j.lease = s.lease AND (j.state = 'running') IS NOT FALSE
        RETURNING j.id, j.task, j.queue, s.state, j.args, j.priority, s.attempt, s.crashes, s.postponed, j.lease,
                  j.created_at, j.run_at, j.started_at, time AS finished_at, j.worker, j.cancel_requested, j.progress,
                  j.progress_text, s.result, s.error,
                  coalesce(CASE WHEN j.cancel_requested AND s.state = 'cancelled' THEN j.reason END, s.reason) AS reason,
                  s.history, j.options, j.partition, j.cost, j.flow,
                  CASE WHEN s.state <> 'completed' THEN j.checkpoint END AS checkpoint
    ), kept AS (
        INSERT INTO mainspring_finished SELECT * FROM gone RETURNING id
    )
    SELECT coalesce(array_agg(kept.id), '{}') INTO done FROM kept;
    IF EXISTS (SELECT 1 FROM mainspring_keys) THEN
        DELETE FROM mainspring_keys AS k WHERE k.name = ANY(ARRAY(
            SELECT o.name FROM mainspring_keys AS o
            WHERE o.until <> 'expiry' AND o.job = ANY(done)
              AND NOT (o.until = 'resolved'
                       AND EXISTS (SELECT 1 FROM mainspring_finished AS f WHERE f.id = o.job AND f.state = 'dead'))
            FOR UPDATE OF o SKIP LOCKED
        ));
    END IF;
    IF EXISTS (SELECT 1 FROM mainspring_edges)
        AND EXISTS (SELECT 1 FROM mainspring_edges AS e WHERE e.parent = ANY(done)) THEN
        -- It was given a child while its row was waited for. Begun anew, this is seen at once.
        RAISE serialization_failure USING MESSAGE = 'a job was given a child while it was settled';
    END IF;
    IF back IS NOT NULL THEN
        ids := ARRAY(SELECT value ->> 'id' FROM jsonb_array_elements(back) AS value);
        WITH returned AS (
            UPDATE mainspring_jobs AS j
            SET run_at = CASE WHEN b.state = 'queued' THEN j.run_at WHEN j.cancel_requested THEN time
                              ELSE time + b.delay_ms END,
                state = CASE WHEN j.cancel_requested OR b.state = 'queued' OR b.delay_ms <= 0 THEN 'queued'
                             ELSE 'scheduled' END,
                attempt = b.attempt, crashes = b.crashes, postponed = b.postponed, history = b.history,
                error = b.error, reason = coalesce(CASE WHEN j.cancel_requested THEN j.reason END, b.reason)
            FROM jsonb_to_recordset(back) AS b (
                id text, lease integer, state text, delay_ms bigint, attempt integer, crashes integer,
                postponed integer, history text, error text, reason text
            )
            WHERE j.id = ANY(ids) AND j.id = b.id AND j.lease = b.lease AND (j.state = 'running') IS NOT FALSE
            RETURNING j.id
        )
        SELECT done || coalesce(array_agg(r.id), '{}') INTO done FROM returned AS r;
    END IF;
    IF channel IS NOT NULL THEN
        PERFORM pg_notify(channel, payload);
    END IF;
    IF cardinality(done) < jsonb_array_length(final) + coalesce(jsonb_array_length(back), 0) THEN
        RETURN QUERY SELECT value ->> 0 FROM jsonb_array_elements(final) AS value WHERE value ->> 0 <> ALL(done)
           UNION ALL SELECT value ->> 'id' FROM jsonb_array_elements(back) AS value WHERE value ->> 'id' <> ALL(done);
    END IF;
END $$;
