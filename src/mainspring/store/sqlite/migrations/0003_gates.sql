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
    reached      INTEGER NOT NULL DEFAULT 0,
    partitioned  INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
INSERT INTO mainspring_queues_new (name, paused_at, defined, limited)
SELECT name, paused_at,
       CASE WHEN defined_concurrency IS NULL THEN '{}' ELSE json_object('concurrency', defined_concurrency) END,
       CASE WHEN limited THEN json_object('concurrency', limit_concurrency) ELSE '{}' END
FROM mainspring_queues;
DROP TABLE mainspring_queues;
ALTER TABLE mainspring_queues_new RENAME TO mainspring_queues;
-- Queues that have, or had, jobs in partitions.
CREATE INDEX mainspring_queues_partitioned ON mainspring_queues (name) WHERE partitioned;

-- `active`: it may have a job that can be claimed now. Else it waits for `open_at`, or for something to happen to it;
-- `waiting`: perhaps with jobs in it.
-- `reached` is its virtual time, as that of the queue is how far the turns have come.
CREATE TABLE mainspring_partitions (
    queue        TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    active       INTEGER NOT NULL DEFAULT 0,
    reached      INTEGER NOT NULL DEFAULT 0,
    open_at      INTEGER,
    waiting      INTEGER NOT NULL DEFAULT 0,
    paused_at    INTEGER,
    defined      TEXT    NOT NULL DEFAULT '{}',
    limited      TEXT    NOT NULL DEFAULT '{}',
    closed_until INTEGER NOT NULL DEFAULT 0,
    spent        TEXT,
    counts_until INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (queue, name)
) WITHOUT ROWID;
CREATE INDEX mainspring_partitions_turn ON mainspring_partitions (queue, reached, name) WHERE active;
CREATE INDEX mainspring_partitions_open ON mainspring_partitions (queue, open_at) WHERE open_at IS NOT NULL;
CREATE INDEX mainspring_partitions_set ON mainspring_partitions (queue, name)
WHERE defined <> '{}' OR limited <> '{}' OR paused_at IS NOT NULL;
-- What may be forgotten: `counts_until` is when nothing that has started there counts for a rate any more.
CREATE INDEX mainspring_partitions_idle ON mainspring_partitions (counts_until)
WHERE NOT active AND open_at IS NULL AND NOT waiting AND defined = '{}' AND limited = '{}' AND paused_at IS NULL;

-- The jobs of a partition that wait at the gate of their task: whoever finds that gate open activates the partition.
-- `cost` is that of the first of them.
CREATE TABLE mainspring_lanes (
    queue     TEXT    NOT NULL,
    partition TEXT    NOT NULL,
    task      TEXT    NOT NULL,
    reached   INTEGER NOT NULL,
    cost      INTEGER NOT NULL,
    PRIMARY KEY (queue, partition, task)
) WITHOUT ROWID;
CREATE INDEX mainspring_lanes_turn ON mainspring_lanes (queue, task, reached, partition);
CREATE INDEX mainspring_lanes_cost ON mainspring_lanes (queue, task, cost);

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
-- How many run of a task, in all queues; and how many are scheduled in a partition.
CREATE INDEX mainspring_jobs_gate ON mainspring_jobs (gate) WHERE state = 'running' AND gate <> '';
CREATE INDEX mainspring_jobs_later ON mainspring_jobs (queue, partition) WHERE state = 'scheduled' AND partition <> '';
-- Pages and counts filter by partition too, in the index alone.
DROP INDEX mainspring_jobs_page;
CREATE INDEX mainspring_jobs_page ON mainspring_jobs (state, created_at, id, queue, task, partition);
DROP INDEX mainspring_finished_page;
CREATE INDEX mainspring_finished_page ON mainspring_finished (state, finished_at, id, queue, task, partition);

-- The key of a sequence may be held until its holder's end is resolved: by a dead one too, until it is revived or gone.
CREATE TABLE mainspring_keys_new (
    name       TEXT PRIMARY KEY,
    job        TEXT NOT NULL,
    until      TEXT NOT NULL CHECK (until IN ('started', 'settled', 'resolved', 'expiry')),
    expires_at INTEGER
);
INSERT INTO mainspring_keys_new SELECT name, job, until, expires_at FROM mainspring_keys;
DROP TABLE mainspring_keys;
ALTER TABLE mainspring_keys_new RENAME TO mainspring_keys;
CREATE INDEX mainspring_keys_job ON mainspring_keys (job);
CREATE INDEX mainspring_keys_expiry ON mainspring_keys (expires_at) WHERE expires_at IS NOT NULL;

ALTER TABLE mainspring_schedules ADD COLUMN partition TEXT NOT NULL DEFAULT '';
ALTER TABLE mainspring_schedules ADD COLUMN cost INTEGER NOT NULL DEFAULT 1;
