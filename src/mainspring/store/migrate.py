"""Numbered schema changes: which there are, which are still to come, and what to say where that cannot be known."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from mainspring.errors import SchemaMismatch

__all__ = ["Migration", "migrations", "pending"]


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file of SQL."""

    version: int
    name: str
    sql: str


def migrations(package: str) -> tuple[Migration, ...]:
    """The migrations in `package`, in order: files named `0001_what_it_does.sql`, numbered from 1 without a gap."""
    found = sorted(
        (entry.name, entry.read_text(encoding="utf-8"))
        for entry in files(package).iterdir()
        if entry.name.endswith(".sql")
    )
    return tuple(Migration(int(name[:4]), name.removesuffix(".sql"), sql) for name, sql in found)


def pending(known: tuple[Migration, ...], found: int, location: str) -> tuple[Migration, ...]:
    """The migrations that a store at version `found` still needs; `SchemaMismatch` if it is ahead of this program."""
    if found > len(known):
        raise SchemaMismatch(
            f"{location} has schema version {found}, but this program knows versions up to {len(known)}: a newer "
            "mainspring has used it. Upgrade this one (pip install -U mainspring), then run `mainspring migrate`"
        )
    return known[found:]
