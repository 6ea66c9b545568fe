-- Statements that every SQL store takes as they are: no sets, no types, no hints to a planner. A store's own files hold what
-- its dialect forces.

-- name: any_key
-- Whether any job holds any key: most stores have none, and need not look for each job's.
SELECT 1 FROM mainspring_keys LIMIT 1;

-- name: worker_alive
-- Takes :worker, :now.
SELECT 1 FROM mainspring_workers WHERE id = :worker AND expires_at > :now;

-- name: join_worker
-- Takes the columns of a worker by name. Registering twice is registering once.
INSERT INTO mainspring_workers (id, name, queues, tasks, concurrency, running, quiet, memory, started_at, beat_at,
                                expires_at)
VALUES (:id, :name, :queues, :tasks, :concurrency, :running, :quiet, :memory, :now, :now, :now + :lease_ms)
ON CONFLICT (id) DO UPDATE SET beat_at = :now, expires_at = :now + :lease_ms;

-- name: renew_worker
-- Takes :id, :running, :quiet, :memory, :lease_ms, :now. A worker past its lease is not renewed. Gives its command.
UPDATE mainspring_workers
SET running = :running, quiet = :quiet, memory = :memory, beat_at = :now, expires_at = :now + :lease_ms
WHERE id = :id AND expires_at > :now
RETURNING command;

-- name: worker_command
-- Takes :id, :now. Gives its command, if it is alive.
SELECT command FROM mainspring_workers WHERE id = :id AND expires_at > :now;

-- name: leave_worker
-- Takes :id.
DELETE FROM mainspring_workers WHERE id = :id;

-- name: expired_workers
-- Takes :now. Whether there is any.
SELECT 1 FROM mainspring_workers WHERE expires_at <= :now LIMIT 1;

-- name: queue_limited
-- Takes :name. What an operator has said about its limits.
SELECT limited FROM mainspring_queues WHERE name = :name;

-- name: pause_schedule
-- Takes :name, :paused, :next_at (on resume), :now.
UPDATE mainspring_schedules
SET next_at = CASE WHEN NOT :paused AND paused_at IS NOT NULL THEN coalesce(:next_at, next_at) ELSE next_at END,
    paused_at = CASE WHEN :paused THEN coalesce(paused_at, :now) END
WHERE name = :name
RETURNING 1;

-- name: remove_schedule
-- Takes :name.
DELETE FROM mainspring_schedules WHERE name = :name RETURNING 1;

-- name: command_worker
-- Takes :id, :command. Stopping outranks being quiet.
UPDATE mainspring_workers SET command = CASE WHEN command = 'stop' THEN 'stop' ELSE :command END WHERE id = :id
RETURNING 1;

-- name: list_schedules
SELECT name, task, queue, args, priority, options, timing, next_at, last_at, paused_at, keys, partition,
       cost
FROM mainspring_schedules ORDER BY name;

-- name: due_schedules
-- Takes :now, :limit.
SELECT name, task, queue, args, priority, options, timing, next_at, last_at, paused_at, keys, partition,
       cost
FROM mainspring_schedules WHERE paused_at IS NULL AND next_at <= :now ORDER BY next_at, name LIMIT :limit;

-- name: next_tick
SELECT min(next_at) FROM mainspring_schedules WHERE paused_at IS NULL;

-- name: list_workers
SELECT id, name, queues, tasks, concurrency, running, quiet, started_at, beat_at, expires_at, command, memory
FROM mainspring_workers ORDER BY started_at, id;

-- name: task_limited
-- Takes :name.
SELECT limited FROM mainspring_tasks WHERE name = :name;

-- name: list_tasks
SELECT name, defined, limited, closed_until, spent FROM mainspring_tasks ORDER BY name;

-- name: queue_defined
-- Takes :name. What the code has said about its partitions.
SELECT each_defined, sequence FROM mainspring_queues WHERE name = :name;

-- name: each_limited
-- Takes :queue. What an operator has said about each of its partitions.
SELECT each_limited FROM mainspring_queues WHERE name = :queue;

-- name: partition_limited
-- Takes :queue, :partition.
SELECT limited FROM mainspring_partitions WHERE queue = :queue AND name = :partition;

-- name: any_edge
-- Whether there is any edge: most stores have none, and need not look for each job's.
SELECT 1 FROM mainspring_edges LIMIT 1;

-- name: flow
-- Takes :flow. Gives id, name, parent, created_at, callbacks.
SELECT id, name, parent, created_at, callbacks FROM mainspring_flows WHERE id = :flow;

-- name: stats_since
-- Takes :step, :at, :queue, :task (a place), :only_queue, :only_task, :limit. Gives the next cells after that place.
SELECT at, queue, task, enqueued, numbers FROM mainspring_stats
WHERE step = :step AND (at, queue, task) > (:at, :queue, :task)
  AND coalesce(queue = :only_queue, true) AND coalesce(task = :only_task, true)
ORDER BY at, queue, task LIMIT :limit;

-- name: stats_of
-- Takes :step, :since, :queue, :task. Gives the cells of that queue and task, in no order.
SELECT at, queue, task, enqueued, numbers FROM mainspring_stats
WHERE step = :step AND at >= :since AND queue = :queue AND task = :task;

-- name: any_stats
-- Takes :step, :before. Whether there is a cell of that length that begins before that.
SELECT 1 FROM mainspring_stats WHERE step = :step AND at < :before LIMIT 1;

-- name: take_report
-- Takes :source, :number, :now. Gives a row if that report is new, which it is no more.
INSERT INTO mainspring_reports AS r (source, number, at) VALUES (:source, :number, :now)
ON CONFLICT (source) DO UPDATE SET number = excluded.number, at = excluded.at WHERE r.number < excluded.number
RETURNING 1;

-- name: forget_reports
-- Takes :before. A worker's last report that came before that.
DELETE FROM mainspring_reports WHERE at < :before;
