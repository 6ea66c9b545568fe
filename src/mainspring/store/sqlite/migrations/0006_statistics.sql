-- Statistics. A cell is what became of the jobs of one task in one queue in one stretch of time, of `step` milliseconds from
-- `at` on: `numbers` is a JSON object, as `model.stats` has them, of which `enqueued` is kept apart.
CREATE TABLE mainspring_stats (
    step     INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    queue    TEXT    NOT NULL,
    task     TEXT    NOT NULL,
    enqueued INTEGER NOT NULL DEFAULT 0,
    numbers  TEXT    NOT NULL DEFAULT '{}',
    PRIMARY KEY (step, at, queue, task)
) WITHOUT ROWID;

-- The last report of each worker that is counted: one that comes again is known.
CREATE TABLE mainspring_reports (
    source TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    at     INTEGER NOT NULL
) WITHOUT ROWID;
