-- Finished jobs by state and, those that completed, by the day (UTC) on which they did: so history is forgotten by dropping
-- a table, and leaves nothing behind to be vacuumed. Dead and cancelled jobs are few, are kept long, and are picked out
-- one by one; they have a table each.
ALTER TABLE mainspring_finished RENAME TO finished_before;
ALTER INDEX mainspring_finished_pkey RENAME TO finished_before_pkey;
ALTER INDEX mainspring_finished_page RENAME TO finished_before_page;
ALTER INDEX mainspring_finished_flow RENAME TO finished_before_flow;

CREATE TABLE mainspring_finished (
    id               text COLLATE "C" NOT NULL,
    task             text COLLATE "C" NOT NULL,
    queue            text COLLATE "C" NOT NULL,
    state            text    NOT NULL CHECK (state IN ('completed', 'dead', 'cancelled')),
    args             text    NOT NULL,
    priority         integer NOT NULL,
    attempt          integer NOT NULL,
    crashes          integer NOT NULL,
    postponed        integer NOT NULL,
    lease            integer NOT NULL,
    created_at       bigint  NOT NULL,
    run_at           bigint  NOT NULL,
    started_at       bigint,
    finished_at      bigint  NOT NULL,
    worker           text COLLATE "C",
    cancel_requested boolean NOT NULL,
    progress         double precision,
    progress_text    text,
    result           text,
    error            text,
    reason           text,
    history          text    NOT NULL,
    options          text,
    partition        text COLLATE "C" NOT NULL,
    cost             integer NOT NULL,
    flow             text COLLATE "C",
    PRIMARY KEY (id, state, finished_at)
) PARTITION BY RANGE (state, finished_at);
CREATE INDEX finished_page ON mainspring_finished (state, finished_at, id) INCLUDE (queue, task, partition);
CREATE INDEX finished_flow ON mainspring_finished (flow, state, finished_at, id) WHERE flow IS NOT NULL;

CREATE TABLE mainspring_finished_cancelled PARTITION OF mainspring_finished
FOR VALUES FROM ('cancelled', MINVALUE) TO ('cancelled', MAXVALUE);
CREATE TABLE mainspring_finished_dead PARTITION OF mainspring_finished
FOR VALUES FROM ('dead', MINVALUE) TO ('dead', MAXVALUE);

-- How far what belongs to the jobs of a day is gone, while that day is forgotten.
CREATE TABLE mainspring_forgetting (
    day  text COLLATE "C" PRIMARY KEY,
    upto text COLLATE "C" NOT NULL
);

-- The name of the table of those that complete at that time. Names sort as the days do.
CREATE FUNCTION mainspring_day_of(at bigint) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT 'mainspring_finished_' || to_char(to_timestamp(at / 1000) AT TIME ZONE 'UTC', 'YYYYMMDD')
$$;

-- Sees to it that jobs can complete on the day of that time: whoever may run jobs may do so, whoever owns the schema.
CREATE FUNCTION mainspring_open_day(at bigint) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text := mainspring_day_of(at);
    midnight bigint := at / 86400000 * 86400000;
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('mainspring_finished', 9));
    -- Not by `to_regclass`, which may not have heard yet of what was committed while this waited for its turn.
    IF EXISTS (SELECT 1 FROM pg_class AS c JOIN pg_class AS f ON f.relnamespace = c.relnamespace
               WHERE f.oid = 'mainspring_finished'::regclass AND c.relname = split_part(name, '.', 2)) THEN
        RETURN;
    END IF;
    -- Made by itself and then attached: nobody who reads or writes other days has to wait.
    EXECUTE format('CREATE TABLE %s (LIKE mainspring_finished INCLUDING ALL)', name);
    EXECUTE format(
        'ALTER TABLE mainspring_finished ATTACH PARTITION %s '
        'FOR VALUES FROM (''completed'', %s) TO (''completed'', %s)',
        name, midnight, midnight + 86400000
    );
END $$;

-- Forgets days that were over before that time, the oldest first, with all that belongs to their jobs: log lines and edges
-- of so many jobs a call, then the tables themselves, if nobody is looking at them. Gives how many jobs are gone (of a day
-- without log lines and edges no more than a million are counted).
CREATE FUNCTION mainspring_forget_days(before bigint, most integer) RETURNS integer LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
    swept boolean := EXISTS (SELECT 1 FROM mainspring_log) OR EXISTS (SELECT 1 FROM mainspring_edges);
    name text;
    begun text;
    ids text[];
    counted integer;
    gone integer := 0;
    over text[] := '{}';
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('mainspring_finished', 10)) THEN
        RETURN 0;
    END IF;
    FOR name IN
        SELECT d.name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        CROSS JOIN LATERAL (SELECT 'mainspring_finished_' || right(c.relname, 8) AS name) AS d
        WHERE i.inhparent = 'mainspring_finished'::regclass AND c.relname ~ '^finished_[0-9]{8}$'
          AND d.name COLLATE "C" < mainspring_day_of(before)
        ORDER BY d.name COLLATE "C"
    LOOP
        EXIT WHEN gone >= most;
        begun := coalesce((SELECT f.upto FROM mainspring_forgetting AS f WHERE f.day = name), '');
        IF swept THEN
            EXECUTE format('SELECT ARRAY(SELECT id FROM %s WHERE id > $1 ORDER BY id LIMIT $2)', name)
            INTO ids USING begun, most - gone;
            DELETE FROM mainspring_log AS l WHERE l.job = ANY(ids);
            DELETE FROM mainspring_edges AS e WHERE e.child = ANY(ids);
            counted := cardinality(ids);
            IF counted = most - gone THEN
                INSERT INTO mainspring_forgetting AS f (day, upto) VALUES (name, ids[counted])
                ON CONFLICT (day) DO UPDATE SET upto = excluded.upto;
                gone := most;
                EXIT;
            END IF;
        ELSE
            EXECUTE format('SELECT count(*) FROM (SELECT 1 FROM %s WHERE id > $1 LIMIT 1000000) AS f', name)
            INTO counted USING begun;
        END IF;
        gone := gone + counted;
        over := over || name;
    END LOOP;
    -- Last of all, and by who ends its transaction next: meanwhile nobody else comes to finished jobs.
    FOREACH name IN ARRAY over LOOP
        EXECUTE format('DROP TABLE %s', name);
        DELETE FROM mainspring_forgetting AS f WHERE f.day = name;
    END LOOP;
    RETURN gone;
EXCEPTION WHEN lock_not_available THEN
    RETURN 0;
END $$;

-- They act in the owner's name: only who may delete finished jobs may call them (see `grants`).
REVOKE ALL ON FUNCTION mainspring_open_day(bigint), mainspring_forget_days(bigint, integer) FROM PUBLIC;

SELECT mainspring_open_day(f.finished_at) FROM (
    SELECT DISTINCT ON (b.finished_at / 86400000) b.finished_at
    FROM mainspring_finished_before AS b WHERE b.state = 'completed'
) AS f;
INSERT INTO mainspring_finished SELECT * FROM mainspring_finished_before;
DROP TABLE mainspring_finished_before;
