"""From a URL to its store, loading only the code of that kind of store."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from mainspring.errors import InvalidURL
from mainspring.store.base import Store

__all__ = ["FORMS", "connect", "without_password"]

FORMS = (
    "sqlite:///jobs.db (a file in the current folder), sqlite:////var/lib/app/jobs.db (absolute), "
    "sqlite:// (memory), postgresql://user@host/database or redis://user@host:6379/0"
)
"""The URLs that can be given, for error messages and help."""

_REDIS = frozenset(("redis", "rediss", "valkey", "valkeys", "unix"))
_CREDENTIALS = re.compile(r"(?<=://)([^/?#@]*:)[^/?#]*@")
_SECRET_PARAMETER = re.compile(r"(?<=[?&])((?:\w+_)?password=)[^&#]*", re.IGNORECASE)


def connect(url: str) -> Store:
    """The store at `url`. Opens nothing yet; raises `InvalidURL` for what cannot be one."""
    if not isinstance(url, str):
        raise InvalidURL(f"store URL {url!r} is of type {type(url).__name__}; give text: {FORMS}")
    shown = without_password(url)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidURL(f"store URL {shown!r} cannot be read ({error}); give {FORMS}") from None
    if parts.scheme.partition("+")[0] in _REDIS:
        return _redis(url)
    if parts.scheme in ("postgres", "postgresql"):
        return _postgres(url)
    if parts.scheme != "sqlite" or not url.lower().startswith("sqlite://"):
        raise InvalidURL(f"store URL {shown!r} is of no known kind; give {FORMS}")
    if parts.netloc:
        hint = f"sqlite:///{parts.netloc}{parts.path}"
        raise InvalidURL(f"store URL {shown!r} names a host, and SQLite has none; did you mean {hint!r}? Give {FORMS}")
    if parts.path == "/":
        # Not taken for memory: an empty variable in f"sqlite:///{path}" would lose every job with the process.
        raise InvalidURL(f"store URL {shown!r} names no file; give {FORMS}")

    from mainspring.store.sqlite import SqliteStore

    return SqliteStore(url)


def _postgres(url: str) -> Store:
    try:
        from mainspring.store.postgres import PostgresStore
    except ImportError as error:
        raise InvalidURL(
            f"store URL {without_password(url)!r} needs psycopg, which cannot be loaded ({error}); install it: "
            "pip install 'mainspring[postgres]'"
        ) from None
    return PostgresStore(url)


def _redis(url: str) -> Store:
    try:
        from mainspring.store.redis import RedisStore
    except ImportError as error:
        raise InvalidURL(
            f"store URL {without_password(url)!r} needs redis-py, which cannot be loaded ({error}); install it: "
            "pip install 'mainspring[redis]'"
        ) from None
    return RedisStore(url)


def without_password(url: str) -> str:
    """The URL as it may be shown: with `***` for a password."""
    return _SECRET_PARAMETER.sub(r"\1***", _CREDENTIALS.sub(r"\1***@", url))
