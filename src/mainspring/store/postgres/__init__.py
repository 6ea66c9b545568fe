"""Jobs in PostgreSQL, beside your own data."""

from mainspring.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
