-- Statistics: see mainspring/store/sql/stats.py. What is new is set aside, and folded in by one after the other.

-- name: count_enqueued_of_one
-- Takes :queue, :task, :count, :at.
INSERT INTO mainspring_counted (at, queue, task, enqueued) VALUES (:at, :queue, :task, :count);

-- name: count_enqueued
-- Takes :doc (queue, task, how many), :at.
INSERT INTO mainspring_counted (at, queue, task, enqueued)
SELECT :at, value ->> 0, value ->> 1, (value ->> 2)::integer FROM json_array_elements(:doc) AS value;

-- name: set_aside
-- Takes :doc (at, queue, task, enqueued, numbers). Gives a row for each.
INSERT INTO mainspring_counted (at, queue, task, enqueued, numbers)
SELECT (value ->> 0)::bigint, value ->> 1, value ->> 2, (value ->> 3)::integer, value ->> 4
FROM json_array_elements(:doc) AS value
RETURNING 1;

-- name: set_aside_since
-- Takes :since, :only_queue, :only_task. Gives cells: single inserts as one of a minute.
SELECT at / 60000 * 60000, queue, task, sum(enqueued)::bigint, '{}' FROM mainspring_counted
WHERE at >= :since AND coalesce(queue = :only_queue, true) AND coalesce(task = :only_task, true) AND numbers IS NULL
GROUP BY 1, 2, 3
UNION ALL
SELECT at, queue, task, enqueued, numbers FROM mainspring_counted
WHERE at >= :since AND coalesce(queue = :only_queue, true) AND coalesce(task = :only_task, true) AND numbers IS NOT NULL;

-- name: any_set_aside
SELECT 1 FROM mainspring_counted LIMIT 1;

-- name: lock_stats
-- Who writes cells is alone with them until the end of its transaction.
SELECT pg_advisory_xact_lock(hashtextextended('mainspring_stats', 11));

-- name: fold
-- Takes :limit. Takes so many rows away; gives at, queue, task, enqueued, numbers (a list of them, as JSON), how many rows.
WITH taken AS (
    DELETE FROM mainspring_counted WHERE ctid = ANY(ARRAY(SELECT ctid FROM mainspring_counted LIMIT :limit))
    RETURNING at, queue, task, enqueued, numbers
)
SELECT at / 60000 * 60000, queue, task, sum(enqueued)::bigint,
       '[' || string_agg(numbers, ',') || ']', count(*)
FROM taken GROUP BY 1, 2, 3;

-- name: stats_at
-- Takes :doc (at, queue, task), :step. Gives the cells that are there.
SELECT s.at, s.queue, s.task, s.enqueued, s.numbers
FROM (
    SELECT (value ->> 0)::bigint AS at, value ->> 1 AS queue, value ->> 2 AS task
    FROM json_array_elements(:doc) AS value
) AS p JOIN mainspring_stats AS s ON s.step = :step AND s.at = p.at AND s.queue = p.queue AND s.task = p.task;

-- name: write_stats
-- Takes :doc (at, queue, task, enqueued, numbers), :step. In place of what was there.
INSERT INTO mainspring_stats (step, at, queue, task, enqueued, numbers)
SELECT :step, (value ->> 0)::bigint, value ->> 1, value ->> 2, (value ->> 3)::bigint, value ->> 4
FROM json_array_elements(:doc) AS value
ON CONFLICT (step, at, queue, task) DO UPDATE SET enqueued = excluded.enqueued, numbers = excluded.numbers;

-- name: take_stats
-- Takes :step, :before, :limit. Gives the oldest cells that begin before that, which are gone then.
DELETE FROM mainspring_stats WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM mainspring_stats WHERE step = :step AND at < :before ORDER BY at, queue, task LIMIT :limit
))
RETURNING at, queue, task, enqueued, numbers;
