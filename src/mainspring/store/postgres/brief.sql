-- Jobs without what is large of them.

-- name: live_jobs_brief
-- Takes :doc (places). Gives records, in no order.
SELECT j.id, j.task, j.queue, j.state, '{}', j.priority, j.attempt, j.crashes, j.postponed, j.lease, j.created_at,
       j.run_at, j.started_at, NULL, j.worker, j.cancel_requested, j.progress, j.progress_text, NULL,
       CASE WHEN j.error IS NOT NULL THEN json_build_object('type', j.error::json ->> 'type', 'message',
           left(j.error::json ->> 'message', 500), 'traceback', '')::text END, j.reason, '[]', NULL, j.partition, j.cost, j.flow
FROM mainspring_jobs AS j WHERE j.id = ANY(ARRAY(SELECT json_array_elements_text(:doc)));

-- name: finished_jobs_brief
-- Takes :doc (places). Gives records, in no order.
SELECT f.id, f.task, f.queue, f.state, '{}', f.priority, f.attempt, f.crashes, f.postponed, f.lease, f.created_at,
       f.run_at, f.started_at, f.finished_at, f.worker, f.cancel_requested, f.progress, f.progress_text, NULL,
       CASE WHEN f.error IS NOT NULL THEN json_build_object('type', f.error::json ->> 'type', 'message',
           left(f.error::json ->> 'message', 500), 'traceback', '')::text END, f.reason, '[]', NULL, f.partition, f.cost, f.flow
FROM mainspring_finished AS f WHERE f.id = ANY(ARRAY(SELECT json_array_elements_text(:doc)));
