-- What a job has saved of its work, for its next run: JSON text. Kept with one that has died or was cancelled, too, since it
-- may be revived.
ALTER TABLE mainspring_jobs ADD COLUMN checkpoint TEXT;
ALTER TABLE mainspring_finished ADD COLUMN checkpoint TEXT;
