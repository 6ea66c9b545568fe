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

-- The days that have a table. `swept` is how far what belongs to its jobs is gone, once the day is to be forgotten.
CREATE TABLE mainspring_days (
    day   integer PRIMARY KEY,
    swept text COLLATE "C" NOT NULL DEFAULT ''
);

-- Sees to it that jobs can complete on the day of that time: whoever may run jobs may do so, whoever owns the schema.
CREATE FUNCTION mainspring_open_day(at bigint) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this integer := at / 86400000;
    name text := to_char(to_timestamp(this * 86400.0) AT TIME ZONE 'UTC', 'YYYYMMDD');
BEGIN
    IF EXISTS (SELECT 1 FROM mainspring_days AS d WHERE d.day = this) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('mainspring_days', 9));
    IF EXISTS (SELECT 1 FROM mainspring_days AS d WHERE d.day = this) THEN
        RETURN;
    END IF;
    -- Made by itself and then attached: nobody who reads or writes other days has to wait.
    EXECUTE format('CREATE TABLE mainspring_finished_%s (LIKE mainspring_finished INCLUDING ALL)', name);
    EXECUTE format(
        'ALTER TABLE mainspring_finished ATTACH PARTITION mainspring_finished_%s '
        'FOR VALUES FROM (''completed'', %s) TO (''completed'', %s)',
        name, this * 86400000::bigint, (this + 1) * 86400000::bigint
    );
    INSERT INTO mainspring_days (day) VALUES (this);
END $$;

-- Forgets the oldest day that was over before that time, with all that belongs to its jobs: their log lines and edges by
-- so many jobs a call, then the table itself, as soon as nobody looks at it. Gives how many jobs are gone (no more than a
-- million are counted); NULL: there is no such day, or it is looked at just now.
CREATE FUNCTION mainspring_forget_day(before bigint, most integer) RETURNS integer LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
    oldest mainspring_days;
    name text;
    ids text[];
    gone integer;
BEGIN
    SELECT d.* INTO oldest FROM mainspring_days AS d
    WHERE (d.day + 1) * 86400000::bigint <= before ORDER BY d.day LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    name := to_char(to_timestamp(oldest.day * 86400.0) AT TIME ZONE 'UTC', 'YYYYMMDD');
    IF EXISTS (SELECT 1 FROM mainspring_log) OR EXISTS (SELECT 1 FROM mainspring_edges) THEN
        EXECUTE format('SELECT ARRAY(SELECT id FROM mainspring_finished_%s WHERE id > $1 ORDER BY id LIMIT $2)', name)
        INTO ids USING oldest.swept, most;
        IF cardinality(ids) > 0 THEN
            DELETE FROM mainspring_log AS l WHERE l.job = ANY(ids);
            DELETE FROM mainspring_edges AS e WHERE e.child = ANY(ids);
            UPDATE mainspring_days AS d SET swept = ids[cardinality(ids)] WHERE d.day = oldest.day;
            RETURN cardinality(ids);
        END IF;
    END IF;
    EXECUTE format('SELECT count(*) FROM (SELECT 1 FROM mainspring_finished_%s WHERE id > $1 LIMIT 1000000) AS f', name)
    INTO gone USING oldest.swept;
    BEGIN
        EXECUTE format('DROP TABLE mainspring_finished_%s', name);
    EXCEPTION WHEN lock_not_available THEN
        RETURN NULL;
    END;
    DELETE FROM mainspring_days AS d WHERE d.day = oldest.day;
    RETURN gone;
END $$;

SELECT mainspring_open_day(f.finished_at) FROM (
    SELECT DISTINCT ON (b.finished_at / 86400000) b.finished_at
    FROM mainspring_finished_before AS b WHERE b.state = 'completed'
) AS f;
INSERT INTO mainspring_finished SELECT * FROM mainspring_finished_before;
DROP TABLE mainspring_finished_before;
