-- Jobs without what is large of them.

-- name: live_jobs_brief
-- Takes :doc (places). Gives records, in no order.
SELECT j.id, j.task, j.queue, j.state, '{}', j.priority, j.attempt, j.crashes, j.postponed, j.lease, j.created_at,
       j.run_at, j.started_at, NULL, j.worker, j.cancel_requested, j.progress, j.progress_text, NULL,
       CASE WHEN j.error IS NOT NULL THEN json_object('type', json_extract(j.error, '$.type'), 'message',
           substr(json_extract(j.error, '$.message'), 1, 500), 'traceback', '') END, j.reason, '[]', NULL, j.partition, j.cost, j.flow
FROM json_each(:doc) AS r CROSS JOIN mainspring_jobs AS j ON j.rowid = r.value;

-- name: finished_jobs_brief
-- Takes :doc (places). Gives records, in no order.
SELECT f.id, f.task, f.queue, f.state, '{}', f.priority, f.attempt, f.crashes, f.postponed, f.lease, f.created_at,
       f.run_at, f.started_at, f.finished_at, f.worker, f.cancel_requested, f.progress, f.progress_text, NULL,
       CASE WHEN f.error IS NOT NULL THEN json_object('type', json_extract(f.error, '$.type'), 'message',
           substr(json_extract(f.error, '$.message'), 1, 500), 'traceback', '') END, f.reason, '[]', NULL, f.partition, f.cost, f.flow
FROM json_each(:doc) AS r CROSS JOIN mainspring_finished AS f ON f.rowid = r.value;
