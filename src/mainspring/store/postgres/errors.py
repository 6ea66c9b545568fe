"""What psycopg raises, as errors of ours that say what to do."""

from __future__ import annotations

import psycopg
from psycopg import errors

from mainspring.errors import SchemaMismatch, StoreBusy, StoreFull, StoreReadOnly, StoreUnavailable, UnsuitableStore

__all__ = ["again", "behind", "outdated", "translated", "turned_away"]

_AGAIN = (errors.SerializationFailure, errors.DeadlockDetected)

_NO_ROOM = ("too many clients", "too many connections", "connection slots are reserved", "no more connections allowed")
_NOT_YET = (
    "starting up",
    "shutting down",
    "not yet accepting connections",
    "in recovery mode",
    "pgbouncer cannot connect",
)
"""What a server says that takes no connections now. libpq keeps the code of such an error to itself."""

_POOLER = (
    "between here and the server is a pooler that hands out a server process per transaction, where sessions keep "
    "nothing; add listen=0 to the URL"
)


def again(error: BaseException) -> bool:
    """Whether the server took the transaction back for another one's sake, so that it is to be begun anew."""
    return isinstance(error, _AGAIN)


def outdated(error: BaseException) -> bool:
    """Whether the session finds no table for what completes today, though there is one.

    PostgreSQL may miss that a table was attached while it looks up for the first time which there are, and then does
    not hear of it before the next one is. So nothing helps but another session.
    """
    return isinstance(error, errors.CheckViolation) and error.diag.constraint_name is None


def turned_away(error: psycopg.Error) -> bool:
    """Whether the server is there, and will take connections in a while."""
    return any(words in str(error) for words in _NO_ROOM + _NOT_YET)


def behind(url: str, found: int) -> SchemaMismatch:
    """The schema is older than this program, or there is none (0)."""
    what = f"schema version {found}, which is older than this program" if found else "no schema for jobs yet"
    return SchemaMismatch(f"{url} has {what}; run `mainspring migrate`")


def translated(error: psycopg.Error, url: str) -> Exception:
    """The error as one of ours; as it is, where only a bug of ours can be the cause."""
    text = " ".join(str(error).split()) or type(error).__name__
    match error:
        case errors.QueryCanceled() | errors.LockNotAvailable() | errors.TooManyConnections():
            return StoreBusy(f"{url} did not get to it in time ({text}); nothing was changed, try again")
        case errors.SerializationFailure() | errors.DeadlockDetected():
            return StoreBusy(f"{url}: others were in the way again and again ({text}); nothing was changed, try again")
        case errors.IdleInTransactionSessionTimeout() | errors.TransactionTimeout():
            # This program was stopped, or starved, in the middle of it.
            return StoreBusy(f"{url}: this program did not get to it in time ({text}); nothing was changed, try again")
        case errors.CheckViolation() if outdated(error):
            return StoreBusy(f"{url}: no table for today is known here ({text}); nothing was changed, try again")
        case errors.DiskFull() | errors.OutOfMemory():
            return StoreFull(f"no room left in {url} ({text}); nothing was changed, free some")
        case errors.ReadOnlySqlTransaction():
            return StoreReadOnly(f"{url} can only be read ({text}); give the address of the primary server")
        case errors.InsufficientPrivilege():
            return StoreReadOnly(f"{url}: {text}; grant this user what it needs, or migrate as the schema's owner")
        case errors.UndefinedTable() | errors.InvalidSchemaName() | errors.UndefinedFunction():
            return behind(url, 0)
        case errors.InvalidSqlStatementName() | errors.DuplicatePreparedStatement():
            return UnsuitableStore(f"{url}: {_POOLER} ({text})")
        case psycopg.OperationalError() if "unsupported startup parameter" in text:
            return UnsuitableStore(f"{url}: {_POOLER} ({text})")
        case psycopg.OperationalError() if any(words in text for words in _NO_ROOM):
            return StoreBusy(
                f"{url} takes no more connections ({text}); nothing was changed. Raise max_connections there, or lower "
                "what its clients take (?pool=N here)"
            )
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return StoreUnavailable(f"{url} cannot be reached ({text}); see that it runs and takes connections")
        case _:
            return error
