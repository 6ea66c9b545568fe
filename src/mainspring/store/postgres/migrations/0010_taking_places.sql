-- A job that takes a waiting one's place brings its queue, partition and cost with it; from SQL, too, what that one had saved
-- is forgotten.
DROP FUNCTION mainspring_enqueue_holder(jsonb, bigint, text, integer, text, bigint);

-- Takes a job's keys, and what it is; how many may wait where it goes to (NULL: any number). Gives the job that holds one
-- of the keys, or NULL: they are free, and nobody else gets them before the end of the transaction. A waiting holder whose
-- place is to be taken gets the new job's arguments, place, cost, priority, options and time (`plans/keys.py`,
-- `replace_jobs`).
CREATE FUNCTION mainspring_enqueue_holder(
    keys jsonb, now_ms bigint, new_args text, new_priority integer, new_options text, new_run_at bigint, new_queue text,
    new_partition text, new_cost integer, most_in_queue bigint, most_in_partition bigint
) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted record;
    holder record;
BEGIN
    FOR wanted IN SELECT k.name, k.on_conflict FROM jsonb_to_recordset(keys) AS k (name text, on_conflict text) LOOP
        LOOP
            SELECT k.job AS id, coalesce(j.state <> 'running', false) AS waiting, j.state, j.queue, j.partition INTO holder
            FROM mainspring_keys AS k LEFT JOIN mainspring_jobs AS j ON j.id = k.job
            WHERE k.name = wanted.name AND (k.expires_at IS NULL OR k.expires_at > now_ms)
              AND (k.until = 'expiry' OR j.id IS NOT NULL)
              AND NOT (k.until = 'started' AND coalesce(j.state = 'running', false));
            EXIT WHEN NOT FOUND;
            IF wanted.on_conflict = 'reject' THEN
                RAISE EXCEPTION 'job % holds the key %', holder.id, quote_literal(wanted.name)
                USING ERRCODE = 'unique_violation', HINT = 'It is there already; wait for it to end, or cancel it.';
            ELSIF wanted.on_conflict = 'existing' OR NOT holder.waiting THEN
                RETURN holder.id;
            END IF;
            IF holder.state <> 'blocked' THEN
                IF holder.queue <> new_queue THEN
                    PERFORM mainspring_enqueue_full(new_queue, NULL, most_in_queue);
                END IF;
                IF holder.queue <> new_queue OR holder.partition <> new_partition THEN
                    PERFORM mainspring_enqueue_full(new_queue, new_partition, most_in_partition);
                END IF;
            END IF;
            UPDATE mainspring_jobs AS j
            SET args = new_args, priority = new_priority, options = new_options, run_at = new_run_at, queue = new_queue,
                partition = new_partition, cost = new_cost, checkpoint = NULL,
                state = CASE WHEN j.state = 'blocked' THEN j.state
                             WHEN new_run_at > now_ms THEN 'scheduled' ELSE 'queued' END
            WHERE j.id = holder.id AND (j.state <> 'running') IS NOT FALSE;
            IF FOUND THEN
                IF holder.queue <> new_queue OR holder.partition <> new_partition THEN
                    -- The sequence that it was in goes on without it, and others may be claimed there.
                    DELETE FROM mainspring_keys AS k
                    WHERE k.job = holder.id
                      AND k.name = format('sequence:%s:%s', holder.queue, to_json(holder.partition));
                    PERFORM mainspring_enqueue_word(holder.queue, holder.partition);
                END IF;
                PERFORM mainspring_enqueue_word(new_queue, new_partition);
                RETURN holder.id;
            END IF;
            -- It has started since it was looked at: nobody's place is taken.
        END LOOP;
    END LOOP;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION mainspring_enqueue(task text, args jsonb DEFAULT '{}', options jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given jsonb := coalesce(jsonb_strip_nulls(enqueue.options), '{}');
    job_task text;
    job_queue text := 'default';
    job_priority integer := 5;
    job_partition text := '';
    job_cost integer := 1;
    job_options text;
    job_id text;
    job_run_at bigint;
    delay_ms bigint := 0;
    overrides jsonb := '{}';
    keys jsonb := '[]';
    unknown text;
    holder text;
    room record;
    us bigint;
    now_ms bigint;
    ms_hex text;
BEGIN
    IF enqueue.task IS NULL OR enqueue.args IS NULL THEN
        RAISE EXCEPTION 'task and args must not be NULL'
        USING ERRCODE = 'null_value_not_allowed', HINT = 'Give the task''s name, and its arguments by name; {} are none.';
    END IF;
    job_task := mainspring_enqueue_name('task', to_jsonb(enqueue.task));
    IF jsonb_typeof(enqueue.args) <> 'object' THEN
        RAISE EXCEPTION 'args % are no object', left(enqueue.args::text, 80)
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the arguments by name, such as {"user_id": 7}.';
    ELSIF octet_length(enqueue.args::text) > 1048576 THEN
        RAISE EXCEPTION 'args of task %: % bytes, over 1048576', quote_literal(job_task), octet_length(enqueue.args::text)
        USING ERRCODE = 'program_limit_exceeded',
              HINT = 'Keep the data in a table, and hand over its key.';
    ELSIF length(enqueue.args::text) > 130
          AND jsonb_path_exists(enqueue.args, 'strict $.**{65} ? (@.type() == "object" || @.type() == "array")') THEN
        RAISE EXCEPTION 'args of task %: nested over 64 deep', quote_literal(job_task)
        USING ERRCODE = 'program_limit_exceeded', HINT = 'Hand over something flatter.';
    END IF;

    IF jsonb_typeof(given) <> 'object' THEN
        RAISE EXCEPTION 'options % are no object', left(given::text, 80)
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Give options by name, such as {"queue": "email"}.';
    ELSIF given <> '{}' THEN
        SELECT string_agg(quote_literal(name), ', ' ORDER BY name) INTO unknown FROM jsonb_object_keys(given) AS name
        WHERE name NOT IN ('queue', 'priority', 'delay', 'at', 'timeout', 'retry', 'id', 'unique', 'idempotency_key',
                           'idempotency_for', 'partition', 'cost');
        IF unknown IS NOT NULL THEN
            RAISE EXCEPTION 'unknown options: %', unknown
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Known are queue, priority, delay, at, timeout, retry, id, unique, idempotency_key, '
                         'idempotency_for, partition and cost.';
        ELSIF given ? 'delay' AND given ? 'at' THEN
            RAISE EXCEPTION 'both delay and at are given'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give one of them.';
        ELSIF given ? 'idempotency_for' AND NOT given ? 'idempotency_key' THEN
            RAISE EXCEPTION 'idempotency_for is given, and no idempotency_key'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give one, or neither.';
        END IF;
        IF given ? 'queue' THEN
            job_queue := mainspring_enqueue_name('queue', given -> 'queue');
        END IF;
        IF given ? 'priority' THEN
            job_priority := mainspring_enqueue_number('priority', given -> 'priority', -1000, 1000, 'Lower runs first.');
        END IF;
        IF given ? 'delay' THEN
            delay_ms := mainspring_enqueue_ms('delay', given -> 'delay');
        ELSIF given ? 'at' THEN
            job_run_at := mainspring_enqueue_at(given -> 'at');
        END IF;
        IF given ? 'retry' THEN
            overrides := jsonb_build_object('retry', mainspring_enqueue_retry(given -> 'retry'));
        END IF;
        IF given ? 'timeout' THEN
            overrides := overrides
                || jsonb_build_object('timeout_ms', mainspring_enqueue_ms('timeout', given -> 'timeout', 1));
        END IF;
        IF given ? 'id' THEN
            job_id := mainspring_enqueue_name('id', given -> 'id');
        END IF;
        IF given ? 'idempotency_key' THEN
            keys := keys || mainspring_enqueue_once(
                job_task, given -> 'idempotency_key', coalesce(given -> 'idempotency_for', '"24h"'));
        END IF;
        IF given ? 'unique' THEN
            keys := keys || mainspring_enqueue_unique(job_task, enqueue.args, given -> 'unique');
        END IF;
        IF given ? 'partition' THEN
            job_partition := mainspring_enqueue_partition(given -> 'partition');
        END IF;
        IF given ? 'cost' THEN
            job_cost := mainspring_enqueue_number(
                'cost', given -> 'cost', 1, 1000000, 'It is how many starts the job counts for.');
        END IF;
        IF overrides <> '{}' THEN
            job_options := overrides::text;
        END IF;
    END IF;

    -- Locks are taken in the order in which an insert from Python takes them: room, then keys by their names.
    SELECT r.most_in_queue, r.most_in_partition INTO room
    FROM mainspring_enqueue_room(job_queue, job_partition, given ? 'partition') AS r;
    IF keys <> '[]' THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(wanted.name, 7)) FROM (
            SELECT k ->> 'name' AS name FROM jsonb_array_elements(keys) AS k ORDER BY (k ->> 'name') COLLATE "C"
        ) AS wanted;
    END IF;
    us := floor(extract(epoch FROM clock_timestamp()) * 1000000);
    now_ms := us / 1000;
    job_run_at := coalesce(job_run_at, now_ms + delay_ms);
    IF job_id IS NOT NULL AND (EXISTS (SELECT 1 FROM mainspring_jobs AS j WHERE j.id = job_id)
                               OR EXISTS (SELECT 1 FROM mainspring_finished AS f WHERE f.id = job_id)) THEN
        RETURN job_id;
    END IF;
    IF keys <> '[]' THEN
        holder := mainspring_enqueue_holder(
            keys, now_ms, enqueue.args::text, job_priority, job_options, job_run_at, job_queue, job_partition, job_cost,
            room.most_in_queue, room.most_in_partition);
    END IF;
    IF holder IS NULL THEN
        PERFORM mainspring_enqueue_full(job_queue, NULL, room.most_in_queue);
        PERFORM mainspring_enqueue_full(job_queue, job_partition, room.most_in_partition);
        -- A UUID of version 7, as ids.py makes them: milliseconds, then their 4096ths, so that the ids of one session rise
        -- (RFC 9562, section 6.2, method 3), then chance.
        ms_hex := lpad(to_hex(now_ms), 12, '0');
        holder := coalesce(job_id, substr(ms_hex, 1, 8) || '-' || substr(ms_hex, 9) || '-7'
            || lpad(to_hex(us % 1000 * 4096 / 1000), 3, '0') || substr(gen_random_uuid()::text, 19));
        INSERT INTO mainspring_jobs (
            id, task, queue, state, args, priority, created_at, run_at, options, partition, cost, gate
        )
        SELECT holder, job_task, job_queue, CASE WHEN job_run_at > now_ms THEN 'scheduled' ELSE 'queued' END,
               enqueue.args::text, job_priority, now_ms, job_run_at, job_options, job_partition, job_cost,
               coalesce((SELECT t.name FROM mainspring_tasks AS t WHERE t.name = job_task), '')
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN job_id;
        END IF;
        IF job_id IS NOT NULL THEN
            -- It may have ended, or begun again, while it was inserted a second time.
            DELETE FROM mainspring_jobs AS j
            WHERE j.id = job_id AND EXISTS (SELECT 1 FROM mainspring_finished AS f WHERE f.id = job_id);
            IF FOUND THEN
                RETURN job_id;
            END IF;
        END IF;
        INSERT INTO mainspring_keys (name, job, until, expires_at)
        SELECT k.name, holder, k.until, now_ms + k.expires_ms
        FROM jsonb_to_recordset(keys) AS k (name text, until text, expires_ms bigint) ORDER BY k.name COLLATE "C"
        ON CONFLICT (name) DO UPDATE SET job = excluded.job, until = excluded.until, expires_at = excluded.expires_at;
        PERFORM mainspring_enqueue_word(job_queue, job_partition);
        INSERT INTO mainspring_counted (at, queue, task, enqueued) VALUES (now_ms, job_queue, job_task, 1);
    END IF;
    -- The channel is the schema, as the tables' names have it here.
    PERFORM pg_notify(split_part('mainspring_jobs', '"', 2), json_build_array('queue:' || job_queue)::text);
    RETURN holder;
END $$;
