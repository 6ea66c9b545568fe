-- Live jobs: small, whatever the history. Rows are updated in place as far as the page has room (fillfactor), and
-- vacuumed by number, not by share: what is dead here is in the way of every claim.
CREATE TABLE mainspring_jobs (
    id               text COLLATE "C" PRIMARY KEY,
    task             text COLLATE "C" NOT NULL,
    queue            text COLLATE "C" NOT NULL,
    state            text    NOT NULL CHECK (state IN ('blocked', 'scheduled', 'queued', 'running')),
    args             text    NOT NULL,
    priority         integer NOT NULL,
    attempt          integer NOT NULL DEFAULT 0,
    crashes          integer NOT NULL DEFAULT 0,
    postponed        integer NOT NULL DEFAULT 0,
    lease            integer NOT NULL DEFAULT 0,
    created_at       bigint  NOT NULL,
    run_at           bigint  NOT NULL,
    started_at       bigint,
    worker           text COLLATE "C",
    cancel_requested boolean NOT NULL DEFAULT false,
    progress         double precision,
    progress_text    text,
    error            text,
    reason           text,
    history          text    NOT NULL DEFAULT '[]',
    options          text,
    partition        text COLLATE "C" NOT NULL DEFAULT '',
    gate             text COLLATE "C" NOT NULL DEFAULT '',
    cost             integer NOT NULL DEFAULT 1,
    flow             text COLLATE "C"
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);

-- The order in which a queue is served; what is due next; what runs, and whose worker is gone; pages and counts.
CREATE INDEX jobs_queued ON mainspring_jobs (queue, partition, gate, priority, run_at, id) WHERE state = 'queued';
CREATE INDEX jobs_scheduled ON mainspring_jobs (queue, run_at) WHERE state = 'scheduled';
CREATE INDEX jobs_running ON mainspring_jobs (queue, partition, gate, worker) WHERE state = 'running';
CREATE INDEX jobs_page ON mainspring_jobs (state, created_at, id) INCLUDE (queue, task, partition);
-- Who waits, and who runs, at the gate of a task; what is scheduled in a partition.
CREATE INDEX jobs_gated ON mainspring_jobs (queue, gate) WHERE state IN ('queued', 'scheduled') AND gate <> '';
CREATE INDEX jobs_gate ON mainspring_jobs (gate) WHERE state = 'running' AND gate <> '';
CREATE INDEX jobs_later ON mainspring_jobs (queue, partition) WHERE state = 'scheduled' AND partition <> '';
CREATE INDEX jobs_flow ON mainspring_jobs (flow, state, created_at, id) WHERE flow IS NOT NULL;

-- Final jobs: what they were, and how they ended.
CREATE TABLE mainspring_finished (
    id               text COLLATE "C" PRIMARY KEY,
    task             text COLLATE "C" NOT NULL,
    queue            text COLLATE "C" NOT NULL,
    state            text    NOT NULL CHECK (state IN ('completed', 'dead', 'cancelled')),
    args             text    NOT NULL,
    priority         integer NOT NULL,
    attempt          integer NOT NULL,
    crashes          integer NOT NULL,
    postponed        integer NOT NULL,
    lease            integer NOT NULL,
    created_at       bigint  NOT NULL,
    run_at           bigint  NOT NULL,
    started_at       bigint,
    finished_at      bigint  NOT NULL,
    worker           text COLLATE "C",
    cancel_requested boolean NOT NULL,
    progress         double precision,
    progress_text    text,
    result           text,
    error            text,
    reason           text,
    history          text    NOT NULL,
    options          text,
    partition        text COLLATE "C" NOT NULL,
    cost             integer NOT NULL,
    flow             text COLLATE "C"
);
CREATE INDEX finished_page ON mainspring_finished (state, finished_at, id) INCLUDE (queue, task, partition);
CREATE INDEX finished_flow ON mainspring_finished (flow, state, finished_at, id) WHERE flow IS NOT NULL;

CREATE TABLE mainspring_log (
    job  text COLLATE "C" NOT NULL,
    seq  bigint NOT NULL,
    at   bigint NOT NULL,
    text text   NOT NULL,
    PRIMARY KEY (job, seq)
);

-- Who holds which name. A key that outlives its job is no harm: whoever wants it looks whether the job is there.
CREATE TABLE mainspring_keys (
    name       text COLLATE "C" PRIMARY KEY,
    job        text COLLATE "C" NOT NULL,
    until      text NOT NULL CHECK (until IN ('started', 'settled', 'resolved', 'expiry')),
    expires_at bigint
);
CREATE INDEX keys_job ON mainspring_keys (job);
CREATE INDEX keys_expiry ON mainspring_keys (expires_at) WHERE expires_at IS NOT NULL;

-- Gates: what a queue, a partition or a task lets through. Limits are JSON objects, as `Limits.to_json` writes them;
-- `defined` is what the code says, `limited` what an operator says. `spent` is what a rate looks back on.
CREATE TABLE mainspring_queues (
    name         text   COLLATE "C" PRIMARY KEY,
    paused_at    bigint,
    defined      text   NOT NULL DEFAULT '{}',
    limited      text   NOT NULL DEFAULT '{}',
    each_defined text   NOT NULL DEFAULT '{}',
    each_limited text   NOT NULL DEFAULT '{}',
    sequence     text,
    closed_until bigint NOT NULL DEFAULT 0,
    spent        text,
    reached      bigint NOT NULL DEFAULT 0,
    partitioned  boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);
-- Queues that have, or had, jobs in partitions.
CREATE INDEX queues_partitioned ON mainspring_queues (name) WHERE partitioned;

-- `active`: it may have a job that can be claimed now. Else it waits for `open_at`, or for something to happen to it;
-- `waiting`: perhaps with jobs in it.
-- `reached` is its virtual time, as that of the queue is how far the turns have come.
CREATE TABLE mainspring_partitions (
    queue        text    COLLATE "C" NOT NULL,
    name         text    COLLATE "C" NOT NULL,
    active       boolean NOT NULL DEFAULT false,
    reached      bigint  NOT NULL DEFAULT 0,
    open_at      bigint,
    waiting      boolean NOT NULL DEFAULT false,
    paused_at    bigint,
    defined      text    NOT NULL DEFAULT '{}',
    limited      text    NOT NULL DEFAULT '{}',
    closed_until bigint  NOT NULL DEFAULT 0,
    spent        text,
    counts_until bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (queue, name)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX partitions_turn ON mainspring_partitions (queue, reached, name) WHERE active;
CREATE INDEX partitions_open ON mainspring_partitions (queue, open_at) WHERE open_at IS NOT NULL;
CREATE INDEX partitions_set ON mainspring_partitions (queue, name)
WHERE defined <> '{}' OR limited <> '{}' OR paused_at IS NOT NULL;
-- What may be forgotten: `counts_until` is when nothing that has started there counts for a rate any more.
CREATE INDEX partitions_idle ON mainspring_partitions (counts_until)
WHERE NOT active AND open_at IS NULL AND NOT waiting AND defined = '{}' AND limited = '{}' AND paused_at IS NULL;

-- Word of partitions that may have something to claim since, left by those that do not serve their queue. It is added to
-- and taken from, and never changed: so nobody waits here, and what a claim could not see yet stays for the next one.
CREATE TABLE mainspring_arrivals (
    queue     text COLLATE "C" NOT NULL,
    partition text COLLATE "C" NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX arrivals_queue ON mainspring_arrivals (queue, partition);

-- The jobs of a partition that wait at the gate of their task: whoever finds that gate open activates the partition.
-- `cost` is that of the first of them.
CREATE TABLE mainspring_lanes (
    queue     text    COLLATE "C" NOT NULL,
    partition text    COLLATE "C" NOT NULL,
    task      text    COLLATE "C" NOT NULL,
    reached   bigint  NOT NULL,
    cost      integer NOT NULL,
    PRIMARY KEY (queue, partition, task)
);
CREATE INDEX lanes_turn ON mainspring_lanes (queue, task, reached, partition);
CREATE INDEX lanes_cost ON mainspring_lanes (queue, task, cost);

CREATE TABLE mainspring_tasks (
    name         text   COLLATE "C" PRIMARY KEY,
    defined      text   NOT NULL DEFAULT '{}',
    limited      text   NOT NULL DEFAULT '{}',
    closed_until bigint NOT NULL DEFAULT 0,
    spent        text
) WITH (fillfactor = 50);

-- Edges: a child waits for a parent. `state` is how the parent ended, NULL until then; `broke` marks the edge because of
-- which the child was cancelled. An edge lives as long as its child.
CREATE TABLE mainspring_edges (
    child  text COLLATE "C" NOT NULL,
    parent text COLLATE "C" NOT NULL,
    place  integer NOT NULL,
    policy text    NOT NULL CHECK (policy IN ('fail', 'ignore', 'run', 'dead')),
    wants  boolean NOT NULL DEFAULT false,
    state  text    CHECK (state IN ('completed', 'dead', 'cancelled')),
    result text,
    reason text,
    broke  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (parent, child)
);
CREATE INDEX edges_child ON mainspring_edges (child, place);
-- What a child waits for still; what waited for a dead parent, and one is; what was cancelled because of a parent.
CREATE INDEX edges_open ON mainspring_edges (child) WHERE state IS NULL;
CREATE INDEX edges_fired ON mainspring_edges (child) WHERE policy = 'dead' AND state = 'dead';
CREATE INDEX edges_broke ON mainspring_edges (child) WHERE broke;

CREATE TABLE mainspring_flows (
    id         text COLLATE "C" PRIMARY KEY,
    name       text COLLATE "C" NOT NULL,
    parent     text COLLATE "C",
    created_at bigint NOT NULL,
    callbacks  text   NOT NULL DEFAULT '[]'
);
CREATE INDEX flows_page ON mainspring_flows (created_at, id);
CREATE INDEX flows_parent ON mainspring_flows (parent) WHERE parent IS NOT NULL;

CREATE TABLE mainspring_schedules (
    name      text COLLATE "C" PRIMARY KEY,
    task      text COLLATE "C" NOT NULL,
    queue     text COLLATE "C" NOT NULL,
    args      text    NOT NULL,
    priority  integer NOT NULL,
    options   text,
    timing    text    NOT NULL,
    next_at   bigint  NOT NULL,
    last_at   bigint,
    paused_at bigint,
    keys      text    NOT NULL DEFAULT '[]',
    partition text COLLATE "C" NOT NULL DEFAULT '',
    cost      integer NOT NULL DEFAULT 1
);
CREATE INDEX schedules_due ON mainspring_schedules (next_at) WHERE paused_at IS NULL;

CREATE TABLE mainspring_workers (
    id          text COLLATE "C" PRIMARY KEY,
    name        text COLLATE "C" NOT NULL,
    queues      text    NOT NULL,
    tasks       text    NOT NULL,
    concurrency integer NOT NULL,
    running     integer NOT NULL,
    quiet       boolean NOT NULL,
    started_at  bigint  NOT NULL,
    beat_at     bigint  NOT NULL,
    expires_at  bigint  NOT NULL,
    command     text
) WITH (fillfactor = 50);
