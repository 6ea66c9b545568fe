"""How the SQL stores' statements are written for PostgreSQL and psycopg, in one schema."""

from __future__ import annotations

import re

from mainspring.model.options import TEXT_SEARCHED
from mainspring.store.postgres.location import SESSION_LIMITS
from mainspring.store.sql.statements import CLOCK, Dialect, Query, Statement

__all__ = ["PostgresDialect"]

FILES = (
    "statements.sql",
    "gates.sql",
    "edges.sql",
    "stats.sql",
    "depths.sql",
    "brief.sql",
    "borrowed.sql",
)

NEEDLESS = ("forget_finished", "forget_revived", "part_queues", "any_lane")
"""Here a job moves in one statement, and partitions are written by claims."""

_WORDS = {
    "place": "id",
    "off": "",
    "by": "",
    "among": "= ANY(ARRAY(SELECT json_array_elements_text(:{})))",
    # By the rules of ASCII alone, whatever the database's locale is.
    "contains": f'strpos(lower(substr(args, 1, {TEXT_SEARCHED}) COLLATE "C"), :{{}}) > 0',
    "tagged": (
        "CASE WHEN strpos(options, :{0}_written) > 0 THEN coalesce((options::jsonb -> 'tags') ? :{0}::text, false) "
        "ELSE false END"
    ),
}
_TABLE = re.compile(r"\bmainspring_(?=[a-z])")
_PARAMETER = re.compile(r"(?<![:\w]):(?=[a-z_])(\w+)")


class PostgresDialect(Dialect):
    """The statements' texts: tables are in their schema, parameters as psycopg takes them.

    Where sessions keep nothing (not `sessions`: behind a pooler) each transaction says itself how long it may take, in
    the same round trip that begins it.
    """

    def __init__(self, schema: str, *, sessions: bool = True, files: tuple[str, ...] = FILES) -> None:
        self.schema = schema
        super().__init__("mainspring.store.postgres", files, _WORDS, self._parametrised, NEEDLESS)
        if not sessions:
            for name in {"begin", "begin_reading"} & self._texts.keys():
                self._texts[name] += "".join(f"; SET LOCAL {each} = {ms}" for each, ms in SESSION_LIMITS.items())

    def adapted(self, text: str) -> str:
        """A text without parameters: its tables in their schema."""
        return _TABLE.sub(f'"{self.schema}".', text)

    def _parametrised(self, text: str) -> str:
        return _PARAMETER.sub(r"%(\1)s", self.adapted(text.replace("%", "%%")))

    def text(self, step: Statement | Query) -> str:
        return super().text(Statement("clock") if step is CLOCK else step)
