-- What is said on connections that their users lend, besides the operations themselves.

-- name: whereabouts
-- Takes :schema. Gives what no other database has (which database of which running server), its name, and whether the
-- schema is there. Fails for nobody, whatever he may see.
SELECT (SELECT oid::text FROM pg_database WHERE datname = current_database())
       || ' of the server started at ' || extract(epoch FROM pg_postmaster_start_time())::text,
       current_database()::text,
       EXISTS (SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
               WHERE n.nspname = :schema AND c.relname = 'migrations');

-- name: set_savepoint
SAVEPOINT mainspring;

-- name: release_savepoint
RELEASE SAVEPOINT mainspring;

-- name: back_to_savepoint
ROLLBACK TO SAVEPOINT mainspring;
