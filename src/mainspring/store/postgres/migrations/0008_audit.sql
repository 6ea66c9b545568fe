-- The audit log: what operators did. `count` is how many things an action changed, NULL until it has ended.
CREATE TABLE mainspring_audit (
    id     text COLLATE "C" PRIMARY KEY,
    at     bigint NOT NULL,
    actor  text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    detail text NOT NULL,
    count  bigint
);
CREATE INDEX audit_page ON mainspring_audit (at, id);
