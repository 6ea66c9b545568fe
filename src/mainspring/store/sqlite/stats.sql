-- Statistics: see mainspring/store/sql/stats.py. There is one writer, so what is new is added at once.

-- name: count_enqueued_of_one
-- Takes :queue, :task, :count, :at (the minute). Most inserts are of one task in one queue.
INSERT INTO mainspring_stats (step, at, queue, task, enqueued) VALUES (60000, :at, :queue, :task, :count)
ON CONFLICT (step, at, queue, task) DO UPDATE SET enqueued = enqueued + excluded.enqueued;

-- name: count_enqueued
-- Takes :doc (queue, task, how many), :at (the minute).
INSERT INTO mainspring_stats (step, at, queue, task, enqueued)
SELECT 60000, :at, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
FROM json_each(:doc) WHERE true
ON CONFLICT (step, at, queue, task) DO UPDATE SET enqueued = enqueued + excluded.enqueued;

-- name: stats_at
-- Takes :doc (at, queue, task), :step. Gives the cells that are there.
SELECT s.at, s.queue, s.task, s.enqueued, s.numbers
FROM json_each(:doc) AS p CROSS JOIN mainspring_stats AS s
  ON s.step = :step AND s.at = json_extract(p.value, '$[0]') AND s.queue = json_extract(p.value, '$[1]')
 AND s.task = json_extract(p.value, '$[2]');

-- name: write_stats
-- Takes :doc (at, queue, task, enqueued, numbers), :step. In place of what was there.
INSERT INTO mainspring_stats (step, at, queue, task, enqueued, numbers)
SELECT :step, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), json_extract(value, '$[4]')
FROM json_each(:doc) WHERE true
ON CONFLICT (step, at, queue, task) DO UPDATE SET enqueued = excluded.enqueued, numbers = excluded.numbers;

-- name: take_stats
-- Takes :step, :before, :limit. Gives the oldest cells that begin before that, which are gone then.
DELETE FROM mainspring_stats
WHERE (step, at, queue, task) IN (
    SELECT step, at, queue, task FROM mainspring_stats
    WHERE step = :step AND at < :before ORDER BY at, queue, task LIMIT :limit
)
RETURNING at, queue, task, enqueued, numbers;
