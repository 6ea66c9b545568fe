-- How much is in each queue, counted no further than so far.

-- name: queue_names
-- A queue is known once a claim has seen it; others have jobs in an index, which is gone through by leaps.
WITH RECURSIVE queued (name) AS (
    SELECT (SELECT j.queue FROM mainspring_jobs AS j WHERE j.state = 'queued' ORDER BY j.queue LIMIT 1)
    UNION ALL
    SELECT (SELECT j.queue FROM mainspring_jobs AS j WHERE j.state = 'queued' AND j.queue > o.name
            ORDER BY j.queue LIMIT 1)
    FROM queued AS o WHERE o.name IS NOT NULL
), scheduled (name) AS (
    SELECT (SELECT j.queue FROM mainspring_jobs AS j WHERE j.state = 'scheduled' ORDER BY j.queue LIMIT 1)
    UNION ALL
    SELECT (SELECT j.queue FROM mainspring_jobs AS j WHERE j.state = 'scheduled' AND j.queue > o.name
            ORDER BY j.queue LIMIT 1)
    FROM scheduled AS o WHERE o.name IS NOT NULL
), running (name) AS (
    SELECT (SELECT j.queue FROM mainspring_jobs AS j WHERE j.state = 'running' ORDER BY j.queue LIMIT 1)
    UNION ALL
    SELECT (SELECT j.queue FROM mainspring_jobs AS j WHERE j.state = 'running' AND j.queue > o.name
            ORDER BY j.queue LIMIT 1)
    FROM running AS o WHERE o.name IS NOT NULL
)
SELECT name FROM mainspring_queues
UNION SELECT name FROM queued WHERE name IS NOT NULL
UNION SELECT name FROM scheduled WHERE name IS NOT NULL
UNION SELECT name FROM running WHERE name IS NOT NULL;

-- name: depths_queued
-- Takes :doc (queues), :each. Gives queue, how many are queued, since when the longest-waiting is due. That one is the
-- first of its partition, gate and priority: these firsts are gone through, no more than 500 of a queue.
SELECT q.name, count.jobs, oldest.run_at
FROM json_array_elements_text(:doc) AS q (name)
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs
    FROM (SELECT 1 FROM mainspring_jobs AS j WHERE j.state = 'queued' AND j.queue = q.name LIMIT :each) AS few
) AS count
CROSS JOIN LATERAL (
    WITH RECURSIVE heads (partition, gate, priority, run_at) AS (
        (SELECT j.partition, j.gate, j.priority, j.run_at FROM mainspring_jobs AS j
         WHERE j.state = 'queued' AND j.queue = q.name
         ORDER BY j.partition, j.gate, j.priority, j.run_at, j.id LIMIT 1)
        UNION ALL
        SELECT next.* FROM heads AS h CROSS JOIN LATERAL (
            SELECT j.partition, j.gate, j.priority, j.run_at FROM mainspring_jobs AS j
            WHERE j.state = 'queued' AND j.queue = q.name
              AND (j.partition, j.gate, j.priority) > (h.partition, h.gate, h.priority)
            ORDER BY j.partition, j.gate, j.priority, j.run_at, j.id LIMIT 1
        ) AS next
    )
    SELECT min(few.run_at) AS run_at FROM (SELECT run_at FROM heads LIMIT 500) AS few
) AS oldest;

-- name: depths_scheduled
-- Takes :doc (queues), :each. Gives queue, how many are scheduled, NULL.
SELECT q.name, count.jobs, NULL
FROM json_array_elements_text(:doc) AS q (name)
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs
    FROM (SELECT 1 FROM mainspring_jobs AS j WHERE j.state = 'scheduled' AND j.queue = q.name LIMIT :each) AS few
) AS count;

-- name: depths_running
-- Takes :doc (queues), :each. Gives queue, how many run, NULL.
SELECT q.name, count.jobs, NULL
FROM json_array_elements_text(:doc) AS q (name)
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs
    FROM (SELECT 1 FROM mainspring_jobs AS j WHERE j.state = 'running' AND j.queue = q.name LIMIT :each) AS few
) AS count;

-- name: jobs_ahead
-- Takes :id, :each. Gives the queue of a queued job, and how many of its partition are served before it, at any gate.
SELECT me.queue, ahead.jobs
FROM (SELECT j.queue, j.partition, j.priority, j.run_at, j.id FROM mainspring_jobs AS j
      WHERE j.id = :id AND (j.state = 'queued') IS TRUE) AS me
CROSS JOIN LATERAL (
    WITH RECURSIVE lane (gate) AS (
        (SELECT j.gate FROM mainspring_jobs AS j
         WHERE j.state = 'queued' AND j.queue = me.queue AND j.partition = me.partition ORDER BY j.gate LIMIT 1)
        UNION ALL
        SELECT next.gate FROM lane CROSS JOIN LATERAL (
            SELECT j.gate FROM mainspring_jobs AS j
            WHERE j.state = 'queued' AND j.queue = me.queue AND j.partition = me.partition AND j.gate > lane.gate
            ORDER BY j.gate LIMIT 1
        ) AS next
    )
    SELECT count(*) AS jobs FROM (
        SELECT 1 FROM lane CROSS JOIN LATERAL (
            SELECT 1 FROM mainspring_jobs AS j
            WHERE j.state = 'queued' AND j.queue = me.queue AND j.partition = me.partition AND j.gate = lane.gate
              AND (j.priority, j.run_at, j.id) < (me.priority, me.run_at, me.id)
            ORDER BY j.priority, j.run_at, j.id LIMIT :each
        ) AS first
        LIMIT :each
    ) AS few
) AS ahead;
