-- How much is in each queue, counted no further than so far.

-- name: queue_names
SELECT name FROM mainspring_queues ORDER BY name;

-- name: depths_queued
-- Takes :doc (queues), :each. Gives queue, how many are queued, since when the longest-waiting is due. That one is the
-- first of its partition, gate and priority: these firsts are gone through, no more than 500 of a queue.
SELECT q.value,
       (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs INDEXED BY mainspring_jobs_queued
                              WHERE state = 'queued' AND queue = q.value LIMIT :each)),
       (WITH RECURSIVE heads (place) AS (
            SELECT (SELECT rowid FROM mainspring_jobs INDEXED BY mainspring_jobs_queued
                    WHERE state = 'queued' AND queue = q.value
                    ORDER BY partition, gate, priority, run_at, id LIMIT 1)
            UNION ALL
            -- Not as one comparison of rows: of that SQLite takes the first column alone to the index.
            SELECT coalesce(
                (SELECT n.rowid FROM mainspring_jobs AS n INDEXED BY mainspring_jobs_queued
                 WHERE n.state = 'queued' AND n.queue = q.value AND n.partition = j.partition AND n.gate = j.gate
                   AND n.priority > j.priority
                 ORDER BY n.priority, n.run_at, n.id LIMIT 1),
                (SELECT n.rowid FROM mainspring_jobs AS n INDEXED BY mainspring_jobs_queued
                 WHERE n.state = 'queued' AND n.queue = q.value AND n.partition = j.partition AND n.gate > j.gate
                 ORDER BY n.gate, n.priority, n.run_at, n.id LIMIT 1),
                (SELECT n.rowid FROM mainspring_jobs AS n INDEXED BY mainspring_jobs_queued
                 WHERE n.state = 'queued' AND n.queue = q.value AND n.partition > j.partition
                 ORDER BY n.partition, n.gate, n.priority, n.run_at, n.id LIMIT 1)
            )
            FROM heads CROSS JOIN mainspring_jobs AS j ON j.rowid = heads.place
            LIMIT 500
        )
        SELECT min(j.run_at) FROM heads CROSS JOIN mainspring_jobs AS j ON j.rowid = heads.place)
FROM json_each(:doc) AS q;

-- name: depths_scheduled
-- Takes :doc (queues), :each. Gives queue, how many are scheduled, NULL.
SELECT q.value,
       (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs INDEXED BY mainspring_jobs_scheduled
                              WHERE state = 'scheduled' AND queue = q.value LIMIT :each)), NULL
FROM json_each(:doc) AS q;

-- name: depths_running
-- Takes :doc (queues), :each. Gives queue, how many run, NULL.
SELECT q.value,
       (SELECT count(*) FROM (SELECT 1 FROM mainspring_jobs INDEXED BY mainspring_jobs_running
                              WHERE state = 'running' AND queue = q.value LIMIT :each)), NULL
FROM json_each(:doc) AS q;

-- name: jobs_ahead
-- Takes :id, :each. Gives the queue of a queued job, and how many of its partition are served before it, at any gate.
WITH RECURSIVE me AS MATERIALIZED (
    SELECT queue, partition, priority, run_at, id FROM mainspring_jobs WHERE id = :id AND +state = 'queued'
), lane (queue, partition, gate, priority, run_at, id) AS (
    SELECT queue, partition,
           (SELECT min(j.gate) FROM mainspring_jobs AS j INDEXED BY mainspring_jobs_queued
            WHERE j.state = 'queued' AND j.queue = me.queue AND j.partition = me.partition), priority, run_at, id
    FROM me
    UNION ALL
    SELECT queue, partition,
           (SELECT min(j.gate) FROM mainspring_jobs AS j INDEXED BY mainspring_jobs_queued
            WHERE j.state = 'queued' AND j.queue = lane.queue AND j.partition = lane.partition AND j.gate > lane.gate),
           priority, run_at, id
    FROM lane WHERE gate IS NOT NULL
)
SELECT queue, (SELECT count(*) FROM (
    -- Not as one comparison of rows: of that SQLite takes the first column alone to the index.
    SELECT 1 FROM lane CROSS JOIN mainspring_jobs AS j INDEXED BY mainspring_jobs_queued
    WHERE j.state = 'queued' AND j.queue = lane.queue AND j.partition = lane.partition AND j.gate = lane.gate
      AND j.priority < lane.priority
    UNION ALL
    SELECT 1 FROM lane CROSS JOIN mainspring_jobs AS j INDEXED BY mainspring_jobs_queued
    WHERE j.state = 'queued' AND j.queue = lane.queue AND j.partition = lane.partition AND j.gate = lane.gate
      AND j.priority = lane.priority AND j.run_at < lane.run_at
    UNION ALL
    SELECT 1 FROM lane CROSS JOIN mainspring_jobs AS j INDEXED BY mainspring_jobs_queued
    WHERE j.state = 'queued' AND j.queue = lane.queue AND j.partition = lane.partition AND j.gate = lane.gate
      AND j.priority = lane.priority AND j.run_at = lane.run_at AND j.id < lane.id
    LIMIT :each
))
FROM me;
