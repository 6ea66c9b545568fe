"""An operation as the plain commands that a connection executes: its marks become BEGIN and COMMIT, its hint a NOTIFY.

A generator again, so that the blocking and the async driver differ in nothing but the word `await`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic

from mainspring.store.base import Operation, Reply
from mainspring.store.sql.statements import READ, WRITE, Query, Row, Statement

__all__ = ["Course", "SchemaCheck", "Script", "Single", "Whole", "script", "whole"]

Script = Generator[Statement | Query, list[Row], Reply]
"""Yields what is to be executed, is sent its rows, returns the operation's reply."""

SchemaCheck = Callable[[int], None]
"""Raises `SchemaMismatch` for a version that will not do."""

SCHEMA_VERSION = Statement("schema_version")
BEGIN = Statement("begin")
BEGIN_READING = Statement("begin_reading")
COMMIT = Statement("commit")


class Whole(Statement):
    """A statement that writes, and is a transaction by itself. It takes its hint along, as :channel and :payload."""

    __slots__ = ()


class Single(Whole):
    """One about a single job, whose parameters may as well be text. It changes a row, or nothing: gives as many."""

    __slots__ = ()


def whole(name: str, /, **parameters: Any) -> Whole:
    """The statement of that name, with its parameters, as yet without a hint."""
    return Whole(name, {**parameters, "channel": None, "payload": None})


def script(
    operation: Operation[Reply],
    hint: Statement | None = None,
    check: SchemaCheck | None = None,
    *,
    sessions: bool = True,
    first: Any = None,
) -> Script[Reply]:
    """The commands of one operation, committed at its end; `hint` is executed just before, if it has written. First of
    all the version of the schema goes to `check`. An operation that has begun has yielded `first`.

    Where sessions keep nothing (not `sessions`), nothing is executed outside of a transaction: it is BEGIN that says
    how long what follows may take, and at which isolation.
    """
    begun: Statement | None = None
    if check is not None:
        if not sessions:
            yield BEGIN
        ((version,),) = yield SCHEMA_VERSION
        check(version)
        if not sessions:
            # At which isolation the next one begins is for the operation to say.
            yield COMMIT
    rows: list[Row] | None = None
    while True:
        try:
            step, first = first or operation.send(rows), None
        except StopIteration as done:
            reply: Reply = done.value
            break
        if step is WRITE or step is READ:
            if begun is None:
                yield BEGIN if step is WRITE else BEGIN_READING
            begun = WRITE if begun is WRITE else step
            rows = []
        else:
            if begun is None and not sessions:
                begun = READ
                yield BEGIN
            if isinstance(step, Whole) and hint is not None:
                step = type(step)(step.name, {**step.parameters, **hint.parameters})
            rows = yield step
    if begun is WRITE and hint is not None:
        yield hint
    if begun is not None:
        yield COMMIT
    return reply


class Course(Generic[Reply]):
    """A script on its way: the command that comes next, and after the last one the reply."""

    __slots__ = ("_commands", "command", "reply")

    reply: Reply

    def __init__(self, commands: Script[Reply]) -> None:
        self._commands = commands
        self.command: Statement | Query | None = None
        self._advance(None)

    def take(self, rows: list[Row]) -> None:
        """What the command gave."""
        self._advance(rows)

    def _advance(self, rows: list[Row] | None) -> None:
        try:
            self.command = self._commands.send(rows)  # type: ignore[arg-type]
        except StopIteration as done:
            self.command, self.reply = None, done.value
