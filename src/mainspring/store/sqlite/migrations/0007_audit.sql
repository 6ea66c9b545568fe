-- The audit log: what operators did. `count` is how many things an action changed, NULL until it has ended.
CREATE TABLE mainspring_audit (
    id     TEXT PRIMARY KEY,
    at     INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    action TEXT    NOT NULL,
    target TEXT    NOT NULL,
    detail TEXT    NOT NULL,
    count  INTEGER
);
CREATE INDEX mainspring_audit_page ON mainspring_audit (at, id);
