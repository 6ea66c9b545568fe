-- The outbox: jobs that wait in a user's database until a worker relays them. See store/outbox/table.py.

-- name: make_outbox
-- Vacuumed by number, not by share: rows come and go, and what is dead here is in the way of every turn.
CREATE TABLE IF NOT EXISTS mainspring_outbox (
    number    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id        text COLLATE "C" NOT NULL,
    queue     text COLLATE "C" NOT NULL,
    partition text COLLATE "C" NOT NULL DEFAULT '',
    job       text NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    aside     text
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);

-- name: outbox_is_there
-- Takes :table. Fails for nobody, whatever he may see.
SELECT to_regclass(:table) IS NOT NULL;

-- name: put_in_outbox
-- Takes :doc (id, queue, partition, job), :channel.
WITH put AS (
    INSERT INTO mainspring_outbox (id, queue, partition, job)
    SELECT id, queue, partition, job
    FROM ROWS FROM (json_to_recordset(:doc) AS (id text, queue text, partition text, job text))
         WITH ORDINALITY AS new (id, queue, partition, job, place)
    ORDER BY place
)
SELECT pg_notify(:channel, '["outbox"]');

-- name: begin
BEGIN ISOLATION LEVEL READ COMMITTED;

-- name: commit
COMMIT;

-- name: take_turn
-- Gives whether it is ours, until the end of the transaction.
SELECT pg_try_advisory_xact_lock(hashtextextended('turn of mainspring_outbox', 0));

-- name: rows_in_outbox
-- Takes :queues and :partitions (pairs) to leave out, :limit. Rows that somebody is changing by hand are passed over.
SELECT number, id, job, greatest(0, extract(epoch FROM clock_timestamp() - at) * 1000)::bigint
FROM mainspring_outbox
WHERE aside IS NULL
  AND queue NOT IN (SELECT json_array_elements_text(:queues))
  AND (queue, partition) NOT IN (SELECT pair ->> 0, pair ->> 1 FROM json_array_elements(:partitions) AS pair)
ORDER BY number
LIMIT :limit
FOR UPDATE SKIP LOCKED;

-- name: delete_from_outbox
-- Takes :numbers.
DELETE FROM mainspring_outbox WHERE number = ANY(ARRAY(SELECT json_array_elements_text(:numbers)::bigint));

-- name: set_aside
-- Takes :doc (number, why).
UPDATE mainspring_outbox AS row SET aside = found.why
FROM json_to_recordset(:doc) AS found (number bigint, why text)
WHERE row.number = found.number;

-- name: outbox_status
-- Gives how many wait, for how many milliseconds the oldest does, how many are set aside.
SELECT count(*) FILTER (WHERE aside IS NULL),
       (extract(epoch FROM clock_timestamp() - min(at) FILTER (WHERE aside IS NULL)) * 1000)::bigint,
       count(*) FILTER (WHERE aside IS NOT NULL)
FROM mainspring_outbox;
