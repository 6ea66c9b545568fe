"""What psycopg raises, as errors of ours that say what to do."""

from __future__ import annotations

import psycopg
from psycopg import errors

from mainspring.errors import SchemaMismatch, StoreBusy, StoreFull, StoreReadOnly, StoreUnavailable

__all__ = ["again", "behind", "translated"]

_AGAIN = (errors.SerializationFailure, errors.DeadlockDetected)


def again(error: BaseException) -> bool:
    """Whether the server took the transaction back for another one's sake, so that it is to be begun anew."""
    return isinstance(error, _AGAIN)


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
        case errors.DiskFull() | errors.OutOfMemory():
            return StoreFull(f"no room left in {url} ({text}); nothing was changed, free some")
        case errors.ReadOnlySqlTransaction():
            return StoreReadOnly(f"{url} can only be read ({text}); give the address of the primary server")
        case errors.InsufficientPrivilege():
            return StoreReadOnly(f"{url}: {text}; grant this user what it needs, or migrate as the schema's owner")
        case errors.UndefinedTable() | errors.InvalidSchemaName() | errors.UndefinedFunction():
            return behind(url, 0)
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return StoreUnavailable(f"{url} cannot be reached ({text}); see that it runs and takes connections")
        case _:
            return error
