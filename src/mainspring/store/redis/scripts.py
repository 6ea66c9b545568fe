"""The scripts that the operations call, put together from the files in `lua/`.

A file says in a line `-- needs: names jobs` which other files go before it, and those say the same of themselves; each
goes in once. So a script is one chunk of Lua, in which the files' `local`s are seen by those that come after them.
`KEYS[1]` is the hash tag of the namespace, as `{mainspring}`, which begins every key's name and is the name of none;
`ARGV[1]` is the request, one JSON document.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["Call", "Script", "script"]

_NEEDS = re.compile(r"^-- needs: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Call:
    """What an operation yields: a script by its name and what it is given. It is sent the script's reply."""

    script: str
    document: str


@dataclass(frozen=True, slots=True)
class Script:
    """A script as the server has it."""

    text: str
    sha1: str


@cache
def script(name: str) -> Script:
    """The script of that name, with all that it needs."""
    names: dict[str, str] = {}
    _gather(name, names, ())
    text = "\n".join(names.values())
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _gather(name: str, gathered: dict[str, str], above: tuple[str, ...]) -> None:
    """Put the text of `name` behind the texts that it needs, as far as they are not there yet."""
    if name in gathered:
        return
    if name in above:
        raise ValueError(f"Lua files that need each other: {' → '.join((*above, name))}")
    text = (files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")
    for line in _NEEDS.findall(text):
        for needed in line.split():
            _gather(needed, gathered, (*above, name))
    gathered[name] = text
