-- Live jobs: small, whatever the history. Ordinary rowid table; claims address rows by rowid.
CREATE TABLE mainspring_jobs (
    id               TEXT    NOT NULL UNIQUE,
    task             TEXT    NOT NULL,
    queue            TEXT    NOT NULL,
    state            TEXT    NOT NULL CHECK (state IN ('blocked', 'scheduled', 'queued', 'running')),
    args             TEXT    NOT NULL,
    priority         INTEGER NOT NULL,
    attempt          INTEGER NOT NULL DEFAULT 0,
    crashes          INTEGER NOT NULL DEFAULT 0,
    postponed        INTEGER NOT NULL DEFAULT 0,
    lease            INTEGER NOT NULL DEFAULT 0,
    created_at       INTEGER NOT NULL,
    run_at           INTEGER NOT NULL,
    started_at       INTEGER,
    worker           TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    progress         REAL,
    progress_text    TEXT,
    error            TEXT,
    reason           TEXT,
    history          TEXT    NOT NULL DEFAULT '[]',
    options          TEXT
);

-- The order in which a queue is served.
CREATE INDEX mainspring_jobs_queued ON mainspring_jobs (queue, priority, run_at, id) WHERE state = 'queued';
-- What is due next.
CREATE INDEX mainspring_jobs_scheduled ON mainspring_jobs (queue, run_at) WHERE state = 'scheduled';
-- How many run in a queue, and whose worker is gone.
CREATE INDEX mainspring_jobs_running ON mainspring_jobs (queue, worker) WHERE state = 'running';
-- Pages and counts; it carries queue and task so that filtering reads the index alone.
CREATE INDEX mainspring_jobs_page ON mainspring_jobs (state, created_at, id, queue, task);

-- Final jobs: what they were, and how they ended.
CREATE TABLE mainspring_finished (
    id               TEXT    NOT NULL UNIQUE,
    task             TEXT    NOT NULL,
    queue            TEXT    NOT NULL,
    state            TEXT    NOT NULL CHECK (state IN ('completed', 'dead', 'cancelled')),
    args             TEXT    NOT NULL,
    priority         INTEGER NOT NULL,
    attempt          INTEGER NOT NULL,
    crashes          INTEGER NOT NULL,
    postponed        INTEGER NOT NULL,
    lease            INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    run_at           INTEGER NOT NULL,
    started_at       INTEGER,
    finished_at      INTEGER NOT NULL,
    worker           TEXT,
    cancel_requested INTEGER NOT NULL,
    progress         REAL,
    progress_text    TEXT,
    result           TEXT,
    error            TEXT,
    reason           TEXT,
    history          TEXT    NOT NULL,
    options          TEXT
);

CREATE INDEX mainspring_finished_page ON mainspring_finished (state, finished_at, id, queue, task);

CREATE TABLE mainspring_log (
    job  TEXT    NOT NULL,
    seq  INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    text TEXT    NOT NULL,
    PRIMARY KEY (job, seq)
) WITHOUT ROWID;

CREATE TABLE mainspring_queues (
    name                TEXT PRIMARY KEY,
    paused_at           INTEGER,
    defined_concurrency INTEGER,
    limited             INTEGER NOT NULL DEFAULT 0,
    limit_concurrency   INTEGER
) WITHOUT ROWID;

CREATE TABLE mainspring_schedules (
    name      TEXT PRIMARY KEY,
    task      TEXT    NOT NULL,
    queue     TEXT    NOT NULL,
    args      TEXT    NOT NULL,
    priority  INTEGER NOT NULL,
    options   TEXT,
    timing    TEXT    NOT NULL,
    next_at   INTEGER NOT NULL,
    last_at   INTEGER,
    paused_at INTEGER
) WITHOUT ROWID;

CREATE INDEX mainspring_schedules_due ON mainspring_schedules (next_at) WHERE paused_at IS NULL;

CREATE TABLE mainspring_workers (
    id          TEXT PRIMARY KEY,
    name        TEXT    NOT NULL,
    queues      TEXT    NOT NULL,
    tasks       TEXT    NOT NULL,
    concurrency INTEGER NOT NULL,
    running     INTEGER NOT NULL,
    quiet       INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    beat_at     INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    command     TEXT
) WITHOUT ROWID;
