-- A store after years: 1,000,000 jobs queued, 60,000 that wait for a time or for others, 3,500 that run, 240,000 that
-- have ended. :t0 is the time at which it is looked at.

INSERT INTO mainspring_queues (name, partitioned, defined, each_defined) VALUES
('bulk', false, '{}', '{}'), ('parted', true, '{}', '{}'), ('lanes', true, '{}', '{}'), ('gated', false, '{}', '{}'),
('due', false, '{}', '{}'), ('busy', false, '{"concurrency": 4000}', '{}'), ('few', false, '{"max_queued": 10}', '{}'),
('full', false, '{"max_queued": 2000000}', '{"max_queued": 100000}'), ('sequence', false, '{}', '{}');
UPDATE mainspring_queues SET sequence = 'block' WHERE name = 'sequence';
INSERT INTO mainspring_tasks (name, defined) VALUES
('limited', '{"concurrency": 5000}'), ('slow', '{"concurrency": 1}');

-- What is queued: without a partition; in 1,000 partitions; at the gate of a task; at such a gate in 100 partitions.
INSERT INTO mainspring_jobs (id, task, queue, state, args, priority, created_at, run_at, partition, gate)
SELECT 'bulk ' || lpad(n::text, 31, '0'), 'task ' || n % 5, 'bulk', 'queued', '{"n": 1}', 5, :t0 - 2000000 + n,
       :t0 - 2000000 + n, '', ''
FROM generate_series(1, 700000) AS n
UNION ALL
SELECT 'parted ' || lpad(n::text, 29, '0'), 'task 1', 'parted', 'queued', '{"n": 1}', 5, :t0 - 1000000 + n,
       :t0 - 1000000 + n, 'p' || n % 1000, ''
FROM generate_series(1, 200000) AS n
UNION ALL
SELECT 'gated ' || lpad(n::text, 30, '0'), 'limited', 'gated', 'queued', '{"n": 1}', 5, :t0 - 1000000 + n,
       :t0 - 1000000 + n, '', 'limited'
FROM generate_series(1, 50000) AS n
UNION ALL
SELECT 'lanes ' || lpad(n::text, 30, '0'), 'slow', 'lanes', 'queued', '{"n": 1}', 5, :t0 - 1000000 + n,
       :t0 - 1000000 + n, 'p' || n % 100, 'slow'
FROM generate_series(1, 50000) AS n;

-- What waits for its time, or for others; what runs, and what has lost its worker.
INSERT INTO mainspring_jobs (id, task, queue, state, args, priority, created_at, run_at, flow, started_at, worker, lease)
SELECT 'later ' || n, 'task 1', 'bulk', 'scheduled', '{}', 5, :t0 - n, :t0 + 1000000000 + n, NULL::text, NULL::bigint,
       NULL::text, 0
FROM generate_series(1, 30000) AS n
UNION ALL
SELECT 'due ' || n, 'task 1', 'due', 'scheduled', '{}', 5, :t0 - n, :t0 - n, NULL, NULL, NULL, 0
FROM generate_series(1, 10000) AS n
UNION ALL
SELECT 'child ' || n, 'task 1', 'children', 'blocked', '{}', 5, :t0 - n, :t0 - n, 'flow ' || n / 100, NULL, NULL, 0
FROM generate_series(1, 20000) AS n
UNION ALL
SELECT 'busy ' || n, 'task 1', 'busy', 'running', '{}', 5, :t0 - n, :t0 - n, NULL, :t0 - 1000, 'worker ' || n % 20, 1
FROM generate_series(1, 3000) AS n
UNION ALL
SELECT 'lost ' || n, 'task 1', 'busy', 'running', '{}', 5, :t0 - n, :t0 - n, NULL, :t0 - 1000, 'gone', 1
FROM generate_series(1, 500) AS n;

-- What has ended; the last 20,000 because a parent had ended badly.
SELECT mainspring_open_day(:t0);

INSERT INTO mainspring_finished (
    id, task, queue, state, args, priority, attempt, crashes, postponed, lease, created_at, run_at, started_at,
    finished_at, worker, cancel_requested, result, history, partition, cost, flow
)
SELECT 'done ' || lpad(n::text, 31, '0'), 'task ' || n % 5, 'bulk',
       CASE WHEN n > 220000 OR n % 10 = 0 THEN 'cancelled' WHEN n % 10 = 1 THEN 'dead' ELSE 'completed' END,
       '{"n": 1}', 5, 1, 0, 0, 1, :t0 - 3000000, :t0 - 3000000, :t0 - 3000000, :t0 - 1000000 + n, 'worker 1', false,
       '1', '[]', '', 1, CASE WHEN n % 100 = 0 THEN 'flow ' || n / 10000 END
FROM generate_series(1, 240000) AS n;

-- Children wait for what runs and for what is scheduled; others went down with a dead parent.
INSERT INTO mainspring_edges (child, parent, place, policy, wants, state, broke)
SELECT 'child ' || n, CASE WHEN n % 2 = 0 THEN 'busy ' || 1 + n % 3000 ELSE 'later ' || n END, 0,
       (ARRAY['fail', 'ignore', 'run', 'dead'])[1 + n / 2 % 4], n % 3 = 0, NULL, false
FROM generate_series(1, 20000) AS n
UNION ALL
SELECT 'done ' || lpad(n::text, 31, '0'), 'done ' || lpad((n / 10 * 10 - 199999)::text, 31, '0'), 0, 'fail', false, 'dead',
       true
FROM generate_series(220001, 240000) AS n;
INSERT INTO mainspring_flows (id, name, parent, created_at, callbacks)
SELECT 'flow ' || n, 'nightly', CASE WHEN n > 0 THEN 'flow ' || n / 10 END, :t0 - 1000000 + n,
       json_build_array(json_build_object('job', 'child ' || n * 100, 'policy', 'run'))::text
FROM generate_series(0, 300) AS n;

INSERT INTO mainspring_keys (name, job, until, expires_at)
SELECT 'key ' || n, 'bulk ' || lpad(n::text, 31, '0'), (ARRAY['settled', 'started', 'expiry'])[1 + n % 3],
       CASE WHEN n > 15000 THEN :t0 - n WHEN n % 3 = 2 THEN :t0 + n END
FROM generate_series(1, 20000) AS n;
INSERT INTO mainspring_log (job, seq, at, text)
SELECT 'busy ' || 1 + n % 3000, n / 3000, :t0, 'a line' FROM generate_series(1, 60000) AS n;

INSERT INTO mainspring_partitions (queue, name, active, reached)
SELECT 'parted', 'p' || n, true, n FROM generate_series(0, 999) AS n;
INSERT INTO mainspring_partitions (queue, name, active, reached, open_at, counts_until)
SELECT 'idle', 'p' || n, false, n, CASE WHEN n % 2 = 0 THEN :t0 + n END, :t0 + n - 1000
FROM generate_series(1, 50000) AS n;
INSERT INTO mainspring_partitions (queue, name, active, reached, waiting)
SELECT 'lanes', 'p' || n, false, n, true FROM generate_series(0, 99) AS n;
INSERT INTO mainspring_lanes (queue, partition, task, reached, cost)
SELECT 'lanes', 'p' || n, 'slow', n, 1 FROM generate_series(0, 99) AS n;
INSERT INTO mainspring_arrivals (queue, partition)
SELECT 'parted', 'p' || n FROM generate_series(0, 99) AS n
UNION ALL
SELECT 'unserved', '' FROM generate_series(1, 50000) AS n;

INSERT INTO mainspring_stats (step, at, queue, task, enqueued)
SELECT 60000, :t0 / 60000 * 60000 - n / 50 * 60000, 'bulk', 'task ' || n % 50, 1 FROM generate_series(0, 29999) AS n
UNION ALL
SELECT 3600000, :t0 / 3600000 * 3600000 - n / 50 * 3600000::bigint, 'bulk', 'task ' || n % 50, 1
FROM generate_series(0, 29999) AS n;
INSERT INTO mainspring_counted (at, queue, task) SELECT :t0 - n, 'bulk', 'task 1' FROM generate_series(1, 50) AS n;

INSERT INTO mainspring_workers (id, name, queues, tasks, concurrency, running, quiet, started_at, beat_at, expires_at)
SELECT 'worker ' || n, 'host:' || n, '["bulk"]', '["task 1"]', 100, 150, false, :t0 - 1000, :t0, :t0 + 30000
FROM generate_series(0, 20) AS n
UNION ALL
SELECT 'gone', 'host:1', '["bulk"]', '["task 1"]', 100, 500, false, :t0 - 90000, :t0 - 60000, :t0 - 30000;
INSERT INTO mainspring_audit (id, at, actor, action, target, detail, count)
SELECT 'audit ' || n, :t0 - n, 'ada@host', 'jobs.retry', 'queue=bulk', '{}', n FROM generate_series(1, 200000) AS n;
INSERT INTO mainspring_schedules (name, task, queue, args, priority, timing, next_at)
SELECT 'schedule ' || n, 'task 1', 'bulk', '{}', 5, '{"every_ms": 1000}', :t0 + n FROM generate_series(-9, 9) AS n;
