-- Edges: a child waits for a parent. `state` is how the parent ended, NULL until then; `broke` marks the edge because of
-- which the child was cancelled. An edge lives as long as its child.
CREATE TABLE mainspring_edges (
    child  TEXT    NOT NULL,
    parent TEXT    NOT NULL,
    place  INTEGER NOT NULL,
    policy TEXT    NOT NULL CHECK (policy IN ('fail', 'ignore', 'run', 'dead')),
    wants  INTEGER NOT NULL DEFAULT 0,
    state  TEXT    CHECK (state IN ('completed', 'dead', 'cancelled')),
    result TEXT,
    reason TEXT,
    broke  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (child, place)
) WITHOUT ROWID;
CREATE UNIQUE INDEX mainspring_edges_parent ON mainspring_edges (parent, child);
-- What a child waits for still.
CREATE INDEX mainspring_edges_open ON mainspring_edges (child) WHERE state IS NULL;
-- What waited for a dead parent, and one is.
CREATE INDEX mainspring_edges_fired ON mainspring_edges (child) WHERE policy = 'dead' AND state = 'dead';
-- What was cancelled because of a parent.
CREATE INDEX mainspring_edges_broke ON mainspring_edges (child) WHERE broke;

CREATE TABLE mainspring_flows (
    id         TEXT PRIMARY KEY,
    name       TEXT    NOT NULL,
    parent     TEXT,
    created_at INTEGER NOT NULL,
    callbacks  TEXT    NOT NULL DEFAULT '[]'
) WITHOUT ROWID;
CREATE INDEX mainspring_flows_page ON mainspring_flows (created_at, id);
CREATE INDEX mainspring_flows_parent ON mainspring_flows (parent) WHERE parent IS NOT NULL;

-- Pages and counts of a flow's jobs.
CREATE INDEX mainspring_jobs_flow ON mainspring_jobs (flow, state, created_at, id) WHERE flow IS NOT NULL;
CREATE INDEX mainspring_finished_flow ON mainspring_finished (flow, state, finished_at, id) WHERE flow IS NOT NULL;
