-- Gates: what a queue, a partition or a task lets through. Limits are JSON objects, as `Limits.to_json` writes them;
-- `defined` is what the code says, `limited` what an operator says. `spent` is what a rate looks back on.
CREATE TABLE mainspring_queues_new (
    name         TEXT PRIMARY KEY,
    paused_at    INTEGER,
    defined      TEXT    NOT NULL DEFAULT '{}',
    limited      TEXT    NOT NULL DEFAULT '{}',
    each_defined TEXT    NOT NULL DEFAULT '{}',
    each_limited TEXT    NOT NULL DEFAULT '{}',
    sequence     TEXT,
    closed_until INTEGER NOT NULL DEFAULT 0,
    spent        TEXT,
    reached      INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
INSERT INTO mainspring_queues_new (name, paused_at, defined, limited)
SELECT name, paused_at,
       CASE WHEN defined_concurrency IS NULL THEN '{}' ELSE json_object('concurrency', defined_concurrency) END,
       CASE WHEN limited THEN json_object('concurrency', limit_concurrency) ELSE '{}' END
FROM mainspring_queues;
DROP TABLE mainspring_queues;
ALTER TABLE mainspring_queues_new RENAME TO mainspring_queues;

-- `active`: it may have a job that can be claimed now. Else it waits for `open_at`, or for something to happen to it.
-- `reached` is its virtual time, as that of the queue is how far the turns have come.
CREATE TABLE mainspring_partitions (
    queue        TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    active       INTEGER NOT NULL DEFAULT 0,
    reached      INTEGER NOT NULL DEFAULT 0,
    open_at      INTEGER,
    paused_at    INTEGER,
    defined      TEXT    NOT NULL DEFAULT '{}',
    limited      TEXT    NOT NULL DEFAULT '{}',
    closed_until INTEGER NOT NULL DEFAULT 0,
    spent        TEXT,
    PRIMARY KEY (queue, name)
) WITHOUT ROWID;
CREATE INDEX mainspring_partitions_turn ON mainspring_partitions (queue, reached, name) WHERE active;
CREATE INDEX mainspring_partitions_open ON mainspring_partitions (queue, open_at) WHERE open_at IS NOT NULL;

CREATE TABLE mainspring_tasks (
    name         TEXT PRIMARY KEY,
    defined      TEXT    NOT NULL DEFAULT '{}',
    limited      TEXT    NOT NULL DEFAULT '{}',
    closed_until INTEGER NOT NULL DEFAULT 0,
    spent        TEXT
) WITHOUT ROWID;

-- `gate` is the name of the job's task where that has a gate, else '': jobs at a closed gate are skipped unseen.
ALTER TABLE mainspring_jobs ADD COLUMN partition TEXT NOT NULL DEFAULT '';
ALTER TABLE mainspring_jobs ADD COLUMN gate TEXT NOT NULL DEFAULT '';
ALTER TABLE mainspring_jobs ADD COLUMN cost INTEGER NOT NULL DEFAULT 1;
ALTER TABLE mainspring_jobs ADD COLUMN flow TEXT;
ALTER TABLE mainspring_finished ADD COLUMN partition TEXT NOT NULL DEFAULT '';
ALTER TABLE mainspring_finished ADD COLUMN cost INTEGER NOT NULL DEFAULT 1;
ALTER TABLE mainspring_finished ADD COLUMN flow TEXT;

-- The order in which a queue is served, and its running jobs: now by partition and gate too.
DROP INDEX mainspring_jobs_queued;
CREATE INDEX mainspring_jobs_queued ON mainspring_jobs (queue, partition, gate, priority, run_at, id)
WHERE state = 'queued';
DROP INDEX mainspring_jobs_running;
CREATE INDEX mainspring_jobs_running ON mainspring_jobs (queue, partition, gate, worker) WHERE state = 'running';

ALTER TABLE mainspring_schedules ADD COLUMN partition TEXT NOT NULL DEFAULT '';
ALTER TABLE mainspring_schedules ADD COLUMN cost INTEGER NOT NULL DEFAULT 1;
