"""The schema's versions: which there are, and whether the one that is there will do."""

from __future__ import annotations

from mainspring.store.migrate import migrations, pending
from mainspring.store.postgres.errors import behind

__all__ = ["MIGRATIONS", "check"]

MIGRATIONS = migrations("mainspring.store.postgres.migrations")


def check(url: str, version: int) -> None:
    """Raises `SchemaMismatch` for a schema that this program does not know, or that is older than it."""
    if pending(MIGRATIONS, version, url):
        raise behind(url, version)
