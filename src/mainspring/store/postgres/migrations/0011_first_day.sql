-- A schema is ready for what completes today before the first worker comes: no session looks up which days there are while
-- one is opened that it needs (decision 011).
SELECT mainspring_open_day(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint);
