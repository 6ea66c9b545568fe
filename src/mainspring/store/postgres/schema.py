"""The schema's versions: which there are, whether the one that is there will do, and the SQL that makes it so.

Whoever may change the database runs that SQL by `mainspring migrate`, or has it printed and runs it himself: it is the
same.
"""

from __future__ import annotations

from mainspring.errors import ConfigurationError
from mainspring.model.text import quote
from mainspring.store.migrate import migrations, pending
from mainspring.store.postgres.dialect import PostgresDialect
from mainspring.store.postgres.errors import behind

__all__ = ["LOCK", "MIGRATIONS", "check", "role_name", "schema_made", "script", "upgrade"]

MIGRATIONS = migrations("mainspring.store.postgres.migrations")

LOCK = 0x6D61696E7370  # "mainsp"
"""The advisory lock under which one program at a time migrates."""


def check(url: str, version: int) -> None:
    """Raises `SchemaMismatch` for a schema that this program does not know, or that is older than it."""
    if pending(MIGRATIONS, version, url):
        raise behind(url, version)


def schema_made(schema: str) -> str:
    """What makes that schema, if it is not there."""
    # Not CREATE SCHEMA IF NOT EXISTS: that wants the right to make one even where it is there.
    return f'DO $do$ BEGIN IF to_regnamespace(\'"{schema}"\') IS NULL THEN CREATE SCHEMA "{schema}"; END IF; END $do$;'


def upgrade(dialect: PostgresDialect, found: int, url: str) -> tuple[str, ...]:
    """What brings a schema from version `found` up to date, in order; nothing where it is. Raises `SchemaMismatch`."""
    missing = pending(MIGRATIONS, found, url)
    schema = dialect.schema
    first = (
        schema_made(schema),
        f'CREATE TABLE IF NOT EXISTS "{schema}".migrations '
        "(version integer PRIMARY KEY, name text NOT NULL, at timestamptz NOT NULL DEFAULT now());",
    )
    changes = (
        f"{dialect.adapted(each.sql).strip()}\n"
        f"INSERT INTO \"{schema}\".migrations (version, name) VALUES ({each.version}, '{each.name}');"
        for each in missing
    )
    return (*(first if missing and not found else ()), *changes)


def script(dialect: PostgresDialect, found: int, grant_to: str | None, url: str) -> str:
    """The same as one transaction for psql, which changes nothing where the schema is at another version than `found`
    by then; and what the role `grant_to` needs to enqueue and to work. Raises `SchemaMismatch`,
    `ConfigurationError`."""
    schema = dialect.schema
    changes = upgrade(dialect, found, url)
    begin = f"""\
-- Mainspring: schema "{schema}" from version {found} to {len(MIGRATIONS)}, all or nothing.
-- psql -v ON_ERROR_STOP=1 -f FILE
BEGIN;
DO $do$
DECLARE
    found integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock({LOCK});
    IF to_regclass('"{schema}".migrations') IS NOT NULL THEN
        SELECT coalesce(max(version), 0) INTO found FROM "{schema}".migrations;
    END IF;
    IF found <> {found} THEN
        RAISE EXCEPTION 'schema "{schema}" has version %, and this script begins at version {found}', found
        USING HINT = 'Print it anew: mainspring migrate --sql';
    END IF;
END $do$;"""
    return "\n\n".join((begin, *changes, *_grants(schema, grant_to), "COMMIT;\n"))


def _grants(schema: str, role: str | None) -> tuple[str, ...]:
    if role is None:
        return ()
    name = role_name(role)
    return (
        f'GRANT USAGE ON SCHEMA "{schema}" TO {name};\n'
        f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{schema}" TO {name};\n'
        f'REVOKE INSERT, UPDATE, DELETE ON "{schema}".migrations FROM {name};\n'
        f'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA "{schema}" TO {name};',
    )


def role_name(role: str) -> str:
    """A role, as SQL has it. Raises `ConfigurationError`."""
    if not role or "\0" in role:
        raise ConfigurationError(f"{quote(role)} is no name of a role")
    return '"' + role.replace('"', '""') + '"'
