-- The audit log, on every SQL store.

-- name: write_audit
-- Takes the columns of an entry by name. Of one that is there already only the count rises.
INSERT INTO mainspring_audit (id, at, actor, action, target, detail, count)
VALUES (:id, :at, :actor, :action, :target, :detail, :count)
ON CONFLICT (id) DO UPDATE SET count = CASE
    WHEN mainspring_audit.count >= excluded.count OR excluded.count IS NULL THEN mainspring_audit.count
    ELSE excluded.count END;

-- name: newest_audit
-- Takes :limit.
SELECT id, actor, action, target, detail, count, at FROM mainspring_audit ORDER BY at DESC, id DESC LIMIT :limit;

-- name: audit_before
-- Takes :at, :id, :limit.
SELECT id, actor, action, target, detail, count, at FROM mainspring_audit
WHERE (at, id) < (:at, :id) ORDER BY at DESC, id DESC LIMIT :limit;

-- name: outdated_audit
-- Takes :before, :limit. Gives ids, the oldest first.
SELECT id FROM mainspring_audit WHERE at < :before ORDER BY at, id LIMIT :limit;
