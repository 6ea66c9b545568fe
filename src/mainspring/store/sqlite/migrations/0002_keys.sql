-- Who holds which name. A key that outlives its job is no harm: whoever wants it looks whether the job is there.
CREATE TABLE mainspring_keys (
    name       TEXT PRIMARY KEY,
    job        TEXT NOT NULL,
    until      TEXT NOT NULL CHECK (until IN ('started', 'settled', 'expiry')),
    expires_at INTEGER
);

CREATE INDEX mainspring_keys_job ON mainspring_keys (job);
CREATE INDEX mainspring_keys_expiry ON mainspring_keys (expires_at) WHERE expires_at IS NOT NULL;

ALTER TABLE mainspring_schedules ADD COLUMN keys TEXT NOT NULL DEFAULT '[]';
