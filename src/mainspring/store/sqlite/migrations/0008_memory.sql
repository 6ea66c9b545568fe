-- How many bytes of memory a worker has, by its last beat. NULL: it has not said, as those of older versions do not.
ALTER TABLE mainspring_workers ADD COLUMN memory INTEGER;
