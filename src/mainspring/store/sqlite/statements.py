"""The statements of statements.sql, for all that use them."""

from __future__ import annotations

from mainspring.store.sql.statements import Statements

__all__ = ["sql"]

sql = Statements("mainspring.store.sqlite", "statements.sql")
