"""Stores on files, for tests of what only the embedded store must prove."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from mainspring.store.sqlite import SqliteStore

from .conformance.scene import Scene

__all__ = ["ids_at", "insert", "scene_at", "sound", "store_at"]


def store_at(path: Path) -> SqliteStore:
    return SqliteStore(f"sqlite:///{path}")


def scene_at(path: Path) -> Scene:
    store = store_at(path)
    return Scene(store, store.driver())


def insert(path: Path, *ids: str) -> None:
    """Keep jobs, as a program would that does nothing else."""
    scene = scene_at(path)
    try:
        scene.insert(*ids)
    finally:
        scene.driver.close()


def ids_at(path: Path) -> set[str]:
    """The jobs there, as a program sees them that starts now."""
    scene = scene_at(path)
    try:
        return set(scene.ids())
    finally:
        scene.driver.close()


def sound(path: Path) -> bool:
    """What SQLite itself says about the file."""
    with closing(sqlite3.connect(path)) as raw:
        return list(raw.execute("PRAGMA integrity_check")) == [("ok",)]
