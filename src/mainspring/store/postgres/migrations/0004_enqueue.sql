-- A job enqueued from SQL: psql, triggers, other languages. It takes part in the caller's transaction, and is the job
-- that Python would have stored (store/sql/jobs.py, store/sql/gates.py): same row, keys, word of arrival, and hint.
--
-- Options are those of `task.using(...)`, with the same checks. What is known to Python code alone is not known here: a
-- task's own queue, priority, cost and rules (unique, debounce, throttle), and how a queue makes partitions of arguments.
--
-- It runs with the rights of who calls it, and finds tables, functions and operators whatever the caller's search_path
-- is. What it refuses has the SQLSTATE 22023 (22004 for NULL), 54000 (too large, too deep), 0A000 (not to be had from SQL),
-- 23505 (a job holds the key, and that is to be an error) or 53400 (the queue is full).

-- Takes what is named, and its name. Gives it as text: the names that `check_name` lets through.
CREATE FUNCTION mainspring_enqueue_name(kind text, value jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text := value #>> '{}';
    -- What Python's `strip` takes for white space, control characters apart.
    blank CONSTANT text := '[ \u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000]';
BEGIN
    IF jsonb_typeof(value) <> 'string' THEN
        RAISE EXCEPTION '% name % is no text', kind, left(value::text, 80)
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Give text.';
    ELSIF length(name) NOT BETWEEN 1 AND 200 THEN
        RAISE EXCEPTION '% name % has % characters', kind, left(value::text, 80), length(name)
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Give 1 to 200.';
    ELSIF name ~ '[\u0001-\u001F\u007F-\u009F]' THEN
        RAISE EXCEPTION '% name % has control characters', kind, left(value::text, 80)
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Take them away.';
    ELSIF name ~ ('^' || blank) OR name ~ (blank || '$') THEN
        RAISE EXCEPTION '% name % begins or ends with white space', kind, left(value::text, 80)
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Take it away.';
    END IF;
    RETURN name;
END $$;

-- Takes a whole number by its name. Gives it, if it is from low to high.
CREATE FUNCTION mainspring_enqueue_number(name text, value jsonb, low integer, high integer, hint text)
RETURNS integer
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_typeof(value) <> 'number' OR value::text !~ '^-?[0-9]+$' OR value::numeric NOT BETWEEN low AND high THEN
        RAISE EXCEPTION '% % is not a whole number from % to %', name, left(value::text, 80), low, high
        USING ERRCODE = 'invalid_parameter_value', HINT = hint;
    END IF;
    RETURN value::integer;
END $$;

-- Takes a duration by its name: seconds, or text such as "1h30m". Gives milliseconds, as `durations.to_ms` reads it.
CREATE FUNCTION mainspring_enqueue_ms(name text, value jsonb, low integer DEFAULT 0) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts text[];
    ms numeric;
BEGIN
    IF jsonb_typeof(value) = 'number' THEN
        ms := value::numeric * 1000;
    ELSIF jsonb_typeof(value) = 'string' AND length(value::text) <= 200 THEN
        parts := regexp_match(
            value #>> '{}',
            '^\s*(?:([0-9]+(?:\.[0-9]+)?)\s*w(?![a-z]))?\s*(?:([0-9]+(?:\.[0-9]+)?)\s*d(?![a-z]))?'
            '\s*(?:([0-9]+(?:\.[0-9]+)?)\s*h(?![a-z]))?\s*(?:([0-9]+(?:\.[0-9]+)?)\s*m(?![a-z]))?'
            '\s*(?:([0-9]+(?:\.[0-9]+)?)\s*s(?![a-z]))?\s*(?:([0-9]+(?:\.[0-9]+)?)\s*ms(?![a-z]))?\s*$'
        );
        SELECT sum(part.number::numeric * unit.ms) INTO ms
        FROM unnest(parts) WITH ORDINALITY AS part (number, place)
        JOIN unnest(ARRAY[604800000, 86400000, 3600000, 60000, 1000, 1]) WITH ORDINALITY AS unit (ms, place)
          ON unit.place = part.place;
    END IF;
    IF ms IS NULL THEN
        RAISE EXCEPTION '% % is no duration', name, left(value::text, 80)
        USING ERRCODE = 'invalid_parameter_value',
              HINT = 'Give seconds, or numbers with units (ms s m h d w), the largest first, such as "90s" or "1h30m".';
    ELSIF ms NOT BETWEEN 0 AND 3155760000000 THEN
        RAISE EXCEPTION '% % is out of range', name, left(value::text, 80)
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a duration between 0 and 100 years.';
    END IF;
    -- To the nearest, and halves to the even one, as Python rounds.
    ms := round(round(ms, 6)::double precision);
    IF ms < low THEN
        RAISE EXCEPTION '% % is no time at all', name, left(value::text, 80)
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a millisecond at least.';
    END IF;
    RETURN ms;
END $$;

-- Takes a time: ISO text with a time zone, as a `timestamptz` is written in JSON. Gives milliseconds since 1970 UTC.
CREATE FUNCTION mainspring_enqueue_at(value jsonb) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    moment CONSTANT text := value #>> '{}';
    ms numeric;
BEGIN
    IF jsonb_typeof(value) <> 'string'
       OR moment !~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)? ?(Z|[+-]\d\d(:?\d\d)?)$' THEN
        RAISE EXCEPTION 'at % is no time with a time zone', left(value::text, 80)
        USING ERRCODE = 'invalid_parameter_value',
              HINT = 'Give a timestamptz, such as jsonb_build_object(''at'', now() + interval ''2 hours'').';
    END IF;
    BEGIN
        ms := extract(epoch FROM moment::timestamptz) * 1000;
    EXCEPTION WHEN data_exception THEN
        RAISE EXCEPTION 'at % is no time that there is', left(value::text, 80)
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Give one that is in the calendar.';
    END;
    IF ms < 0 THEN
        RAISE EXCEPTION 'at % is before 1970', left(value::text, 80)
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a later time.';
    END IF;
    RETURN round(ms);
END $$;

-- Takes retry rules, as `Retry` has them. Gives them whole, as they are stored with a job.
CREATE FUNCTION mainspring_enqueue_retry(value jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rules jsonb := '{"attempts": 8, "delay": "15s", "factor": 2.0, "max_delay": "1h", "jitter": true}';
    most bigint;
    wait jsonb;
BEGIN
    IF jsonb_typeof(value) <> 'object' OR value - ARRAY(SELECT jsonb_object_keys(rules)) <> '{}' THEN
        RAISE EXCEPTION 'retry % is not an object with (some of) attempts, delay, factor, max_delay, jitter',
            left(value::text, 80)
        USING ERRCODE = 'invalid_parameter_value',
              HINT = 'Give an object, such as {"attempts": 5, "delay": "10s"}: what the task itself says is not known here.';
    END IF;
    rules := rules || value;
    PERFORM mainspring_enqueue_number('attempts', rules -> 'attempts', 1, 1000000, 'It counts all tries, the first too.');
    IF jsonb_typeof(rules -> 'factor') <> 'number' OR (rules -> 'factor')::numeric NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'factor % is not a number from 1 to 1000', left(rules ->> 'factor', 80)
        USING ERRCODE = 'invalid_parameter_value', HINT = '1 keeps the delay fixed.';
    ELSIF jsonb_typeof(rules -> 'jitter') <> 'boolean' THEN
        RAISE EXCEPTION 'jitter % is neither true nor false', left(rules ->> 'jitter', 80)
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a boolean.';
    ELSIF rules -> 'delay' = '[]' THEN
        RAISE EXCEPTION 'delay [] says no duration'
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Give at least one, such as ["1s", "10s"].';
    END IF;
    most := mainspring_enqueue_ms('max_delay', rules -> 'max_delay');
    FOR wait IN
        SELECT jsonb_array_elements(CASE jsonb_typeof(rules -> 'delay') WHEN 'array' THEN rules -> 'delay'
                                    ELSE jsonb_build_array(rules -> 'delay') END)
    LOOP
        IF mainspring_enqueue_ms('delay', wait) > most THEN
            RAISE EXCEPTION 'delay % goes over max_delay %', left(wait::text, 80), rules -> 'max_delay'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Shorten it, or raise max_delay.';
        END IF;
    END LOOP;
    RETURN rules;
END $$;

-- Takes text. Gives it as JSON in ASCII alone, as Python writes it into the names of keys.
CREATE FUNCTION mainspring_enqueue_ascii(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
SELECT '"' || coalesce(string_agg(
    CASE WHEN code < 127 THEN substr(to_json(letter)::text, 2, length(to_json(letter)::text) - 2)
         WHEN code < 65536 THEN '\u' || lpad(to_hex(code), 4, '0')
         ELSE '\u' || to_hex(55296 + (code - 65536) / 1024) || '\u' || to_hex(56320 + (code - 65536) % 1024) END,
    '' ORDER BY place), '') || '"'
FROM (
    SELECT letter, place, ascii(letter) AS code
    FROM unnest(string_to_array(value, NULL)) WITH ORDINALITY AS each (letter, place)
) AS letters
$$;

-- Takes a task, its arguments, and what `Unique` takes, `by` being a list of arguments. Gives the key, whose name is the
-- one that Python makes.
CREATE FUNCTION mainspring_enqueue_unique(task text, args jsonb, rule jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    argument text;
    told text;
BEGIN
    IF jsonb_typeof(rule) <> 'object' OR rule - ARRAY['by', 'until', 'for', 'on_conflict'] <> '{}'
       OR jsonb_typeof(rule -> 'by') IS DISTINCT FROM 'array'
       OR jsonb_path_exists(rule, '$.by[*] ? (@.type() != "string")') THEN
        RAISE EXCEPTION 'unique % is not an object with by and (some of) until, for, on_conflict', left(rule::text, 80)
        USING ERRCODE = 'invalid_parameter_value',
              HINT = 'Give the names of arguments, such as {"by": ["user_id"], "for": "1h"}.';
    ELSIF coalesce(rule -> 'until', '"settled"') NOT IN ('"settled"', '"started"') THEN
        RAISE EXCEPTION 'until % is neither "settled" nor "started"', left((rule -> 'until')::text, 80)
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for "settled".';
    ELSIF coalesce(rule -> 'on_conflict', '"existing"') NOT IN ('"existing"', '"reject"', '"replace"') THEN
        RAISE EXCEPTION 'on_conflict % is none of "existing", "reject", "replace"', left((rule -> 'on_conflict')::text, 80)
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for "existing".';
    END IF;
    FOR argument IN SELECT DISTINCT jsonb_array_elements_text(rule -> 'by') COLLATE "C" AS name ORDER BY name LOOP
        IF NOT args ? argument THEN
            RAISE EXCEPTION 'unique: there is no argument %, and its default is not known here', quote_literal(argument)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give the argument, or name others in by.';
        ELSIF jsonb_typeof(args -> argument) IN ('object', 'array')
              OR jsonb_typeof(args -> argument) = 'number' AND args ->> argument !~ '^-?[0-9]+$' THEN
            RAISE EXCEPTION 'unique: jobs cannot be told apart by argument %, which is %',
                quote_literal(argument), left(args ->> argument, 80)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'From SQL that goes by texts, whole numbers, booleans and nulls; or use idempotency_key.';
        END IF;
        told := concat_ws(',', told, mainspring_enqueue_ascii(argument) || ':' || CASE jsonb_typeof(args -> argument)
            WHEN 'string' THEN mainspring_enqueue_ascii(args ->> argument) ELSE (args -> argument)::text END);
    END LOOP;
    told := coalesce('{' || told || '}', '');
    IF length(told) > 120 THEN
        told := encode(sha256(convert_to(told, 'UTF8')), 'hex');
    END IF;
    RETURN jsonb_build_object(
        'name', 'unique:' || task || ':' || told,
        'until', coalesce(rule ->> 'until', 'settled'),
        'expires_ms', CASE WHEN rule ? 'for' THEN mainspring_enqueue_ms('for', rule -> 'for', 1) END,
        'on_conflict', coalesce(rule ->> 'on_conflict', 'existing')
    );
END $$;

-- Takes a task, the caller's own name for the job, for how long it counts. Gives the key.
CREATE FUNCTION mainspring_enqueue_once(task text, value jsonb, lasts jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_typeof(value) <> 'string' OR length(value #>> '{}') > 200
       OR value #>> '{}' !~ '[^\s\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000]'
       OR value #>> '{}' ~ '[\u0001-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]' THEN
        RAISE EXCEPTION 'idempotency_key % is not a text of 1 to 200 printable characters', left(value::text, 80)
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Give what names this job, such as "invoice 17".';
    END IF;
    RETURN jsonb_build_object(
        'name', 'idempotency:' || task || ':' || to_json(value #>> '{}')::text,
        'until', 'expiry',
        'expires_ms', mainspring_enqueue_ms('idempotency_for', lasts, 1),
        'on_conflict', 'existing'
    );
END $$;

-- Takes a partition as text, whole number or boolean. Gives its name; "" is none.
CREATE FUNCTION mainspring_enqueue_partition(value jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_typeof(value) = 'boolean' OR jsonb_typeof(value) = 'number' AND value::text ~ '^-?[0-9]+$' THEN
        value := to_jsonb(value::text);
    END IF;
    RETURN CASE WHEN value = '""' THEN '' ELSE mainspring_enqueue_name('partition', value) END;
END $$;

-- Takes a place. Leaves word of it for who serves the queue next, as `insert_queues` and `wake_places` do.
CREATE FUNCTION mainspring_enqueue_word(place_queue text, place_partition text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parted boolean;
BEGIN
    INSERT INTO mainspring_arrivals (queue, partition)
    SELECT place_queue, ''
    WHERE NOT EXISTS (SELECT 1 FROM mainspring_queues AS q WHERE q.name = place_queue)
      AND (SELECT min(a.partition) FROM mainspring_arrivals AS a WHERE a.queue = place_queue) IS NULL;
    IF place_partition <> '' THEN
        INSERT INTO mainspring_arrivals (queue, partition) VALUES (place_queue, place_partition);
    END IF;
    parted := place_partition <> ''
        OR EXISTS (SELECT 1 FROM mainspring_queues AS q WHERE q.name = place_queue AND q.partitioned)
        OR (SELECT min(p.name) FROM mainspring_partitions AS p WHERE p.queue = place_queue) IS NOT NULL
        OR (SELECT min(a.partition) FROM mainspring_arrivals AS a
            WHERE a.queue = place_queue AND a.partition > '') IS NOT NULL;
    IF NOT parted THEN
        RETURN;
    END IF;
    INSERT INTO mainspring_arrivals (queue, partition)
    SELECT place_queue, ''
    WHERE (SELECT min(j.gate) FROM mainspring_jobs AS j
           WHERE j.state = 'queued' AND j.queue = place_queue AND j.partition = '') IS NOT NULL
       OR EXISTS (SELECT 1 FROM mainspring_partitions AS p
                  WHERE p.queue = place_queue AND p.name = '' AND (p.open_at IS NOT NULL OR p.waiting));
END $$;

-- Takes a place, whether its partition was named. Refuses one whose partition only Python could name. Gives how many jobs
-- may wait in the queue, and in the partition (NULL: any number); where there is a limit, whoever asks is alone with
-- the queue until the end of its transaction, as with `lock_room`.
CREATE FUNCTION mainspring_enqueue_room(place_queue text, place_partition text, named boolean,
                                        OUT most_in_queue bigint, OUT most_in_partition bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parted boolean;
    by_code boolean;
BEGIN
    SELECT ((q.defined::jsonb || q.limited::jsonb) ->> 'max_queued')::bigint,
           ((q.each_defined::jsonb || q.each_limited::jsonb || coalesce(p.defined, '{}')::jsonb
             || coalesce(p.limited, '{}')::jsonb) ->> 'max_queued')::bigint,
           q.partitioned OR (SELECT min(o.name) FROM mainspring_partitions AS o WHERE o.queue = q.name) IS NOT NULL,
           q.sequence IS NOT NULL OR q.each_defined <> '{}' OR q.each_limited <> '{}'
    INTO most_in_queue, most_in_partition, parted, by_code
    FROM mainspring_queues AS q
    LEFT JOIN mainspring_partitions AS p ON p.queue = q.name AND p.name = place_partition
    WHERE q.name = place_queue;
    parted := coalesce(parted, false)
        OR (SELECT min(a.partition) FROM mainspring_arrivals AS a WHERE a.queue = place_queue AND a.partition > '') IS NOT NULL;
    IF NOT named AND (parted OR by_code) THEN
        RAISE EXCEPTION 'queue % is partitioned, by a rule that only the program knows', quote_literal(place_queue)
        USING ERRCODE = 'feature_not_supported',
              HINT = 'Say which partition in the options, such as {"partition": "acme"}; "" is in none.';
    END IF;
    IF place_partition = '' AND NOT parted THEN
        most_in_partition := NULL;
    END IF;
    IF most_in_queue IS NULL AND most_in_partition IS NULL THEN
        RETURN;
    ELSIF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'queue % takes only so many waiting jobs, and this transaction does not see what others add',
            quote_literal(place_queue)
        USING ERRCODE = 'feature_not_supported', HINT = 'Enqueue here in a transaction that is READ COMMITTED.';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(place_queue, 8));
END $$;

-- Takes a place (NULL: the whole queue) and how many jobs may wait there, if there is a limit. Refuses one more; no more
-- than about that many are counted (`waiting_in`).
CREATE FUNCTION mainspring_enqueue_full(place_queue text, place_partition text, most bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place text := concat_ws(' of ', 'partition ' || quote_literal(place_partition), 'queue ' || quote_literal(place_queue));
    waiting bigint;
BEGIN
    IF most IS NULL THEN
        RETURN;
    ELSIF place_partition IS NULL THEN
        SELECT (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j
                                      WHERE j.state = 'queued' AND j.queue = place_queue
                                      ORDER BY j.partition, j.gate, j.priority, j.run_at, j.id LIMIT most) AS queued)
             + (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j
                                      WHERE j.state = 'scheduled' AND j.queue = place_queue
                                      ORDER BY j.run_at LIMIT most) AS scheduled)
        INTO waiting;
    ELSIF place_partition = '' THEN
        SELECT (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j
                                      WHERE j.state = 'queued' AND j.queue = place_queue AND j.partition = ''
                                      ORDER BY j.gate, j.priority, j.run_at, j.id LIMIT most) AS queued)
             + (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j
                                      WHERE j.state = 'scheduled' AND j.queue = place_queue AND j.partition = ''
                                      ORDER BY j.run_at LIMIT most) AS scheduled)
        INTO waiting;
    ELSE
        SELECT (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j
                                      WHERE j.state = 'queued' AND j.queue = place_queue
                                        AND j.partition = place_partition
                                      ORDER BY j.gate, j.priority, j.run_at, j.id LIMIT most) AS queued)
             + (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs AS j
                                      WHERE j.state = 'scheduled' AND j.partition <> '' AND j.queue = place_queue
                                        AND j.partition = place_partition LIMIT most) AS scheduled)
        INTO waiting;
    END IF;
    IF waiting >= most THEN
        RAISE EXCEPTION '% is full: % jobs wait in it', place, waiting
        USING ERRCODE = 'configuration_limit_exceeded', HINT = 'Try again later, or raise its max_queued.';
    END IF;
END $$;

-- Takes a job's keys, and what it is. Gives the job that holds one of them, or NULL: they are free, and nobody else gets
-- them before the end of the transaction. A waiting holder whose place is to be taken gets the new job's arguments,
-- priority, options and time (`plans/keys.py`, `replace_jobs`).
CREATE FUNCTION mainspring_enqueue_holder(keys jsonb, now_ms bigint, new_args text, new_priority integer,
                                          new_options text, new_run_at bigint) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted record;
    holder record;
    place record;
BEGIN
    FOR wanted IN SELECT k.name, k.on_conflict FROM jsonb_to_recordset(keys) AS k (name text, on_conflict text) LOOP
        LOOP
            SELECT k.job AS id, coalesce(j.state <> 'running', false) AS waiting INTO holder
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
            UPDATE mainspring_jobs AS j
            SET args = new_args, priority = new_priority, options = new_options, run_at = new_run_at,
                state = CASE WHEN j.state = 'blocked' THEN j.state
                             WHEN new_run_at > now_ms THEN 'scheduled' ELSE 'queued' END
            WHERE j.id = holder.id AND (j.state <> 'running') IS NOT FALSE
            RETURNING j.queue, j.partition INTO place;
            IF FOUND THEN
                PERFORM mainspring_enqueue_word(place.queue, place.partition);
                RETURN holder.id;
            END IF;
            -- It has started since it was looked at: nobody's place is taken.
        END LOOP;
    END LOOP;
    RETURN NULL;
END $$;

CREATE FUNCTION mainspring_enqueue(task text, args jsonb DEFAULT '{}', options jsonb DEFAULT '{}') RETURNS text
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
            keys, now_ms, enqueue.args::text, job_priority, job_options, job_run_at);
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
    END IF;
    -- The channel is the schema, as the tables' names have it here.
    PERFORM pg_notify(split_part('mainspring_jobs', '"', 2), json_build_array('queue:' || job_queue)::text);
    RETURN holder;
END $$;

COMMENT ON FUNCTION mainspring_enqueue(text, jsonb, jsonb) IS
'Enqueues a job of that task and gives its id: enqueue(''send_welcome'', ''{"user_id": 7}'', ''{"queue": "email"}''). Options
are those of task.using(...) in Python; the task''s own queue, priority and rules are not known here.';
