-- The outbox: jobs that wait in a user's file until a worker relays them. See store/outbox/table.py.

-- name: make_outbox
CREATE TABLE IF NOT EXISTS mainspring_outbox (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT NOT NULL,
    queue     TEXT NOT NULL,
    partition TEXT NOT NULL DEFAULT '',
    job       TEXT NOT NULL,
    at        INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
    aside     TEXT
);

-- name: outbox_is_there
SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'mainspring_outbox');

-- name: put_in_outbox
-- Takes :doc (id, queue, partition, job), :now.
INSERT INTO mainspring_outbox (id, queue, partition, job, at)
SELECT json_extract(value, '$.id'), json_extract(value, '$.queue'), json_extract(value, '$.partition'), json_extract(value, '$.job'), :now
FROM json_each(:doc)
ORDER BY key;

-- name: rows_in_outbox
-- Takes :queues and :partitions (pairs) to leave out, :limit, :now.
SELECT number, id, job, max(0, :now - at)
FROM mainspring_outbox
WHERE aside IS NULL
  AND queue NOT IN (SELECT value FROM json_each(:queues))
  AND (queue, partition) NOT IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:partitions))
ORDER BY number
LIMIT :limit;

-- name: delete_from_outbox
-- Takes :numbers.
DELETE FROM mainspring_outbox WHERE number IN (SELECT value FROM json_each(:numbers));

-- name: set_aside
-- Takes :doc (number, why).
UPDATE mainspring_outbox SET aside = json_extract(found.value, '$.why')
FROM json_each(:doc) AS found
WHERE mainspring_outbox.number = json_extract(found.value, '$.number');

-- name: outbox_status
-- Takes :now. Gives how many wait, for how many milliseconds the oldest does, how many are set aside.
SELECT count(*) FILTER (WHERE aside IS NULL), :now - min(at) FILTER (WHERE aside IS NULL),
       count(*) FILTER (WHERE aside IS NOT NULL)
FROM mainspring_outbox;
