"""Keys: each kind is in the guide, and no two kinds can have a key of one name."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from mainspring.model.states import State

NAMES = (files("mainspring.store.redis") / "lua" / "names.lua").read_text(encoding="utf-8")
GUIDE = (Path(__file__).parents[2] / "docs" / "redis.md").read_text(encoding="utf-8")
WORDS = set(re.findall(r"\bns \.\. '([a-z-]+)", NAMES))


def test_every_kind_of_key_is_in_the_guide() -> None:
    named = set(re.findall(r"`([a-z-]+)(?=[`:])", GUIDE.split("## Keys")[1]))
    assert WORDS - named == set()


def test_no_kind_of_key_can_be_taken_for_jobs_of_a_state() -> None:
    """`dead:ID` would be what `dead:QUEUE` is, for a queue of that name."""
    assert WORDS.isdisjoint(set(State))
    assert len(WORDS) > 30


def test_lines_of_scripts_are_as_long_as_they_may_be() -> None:
    scripts = (files("mainspring.store.redis") / "lua").iterdir()
    long = [line for script in scripts for line in script.read_text(encoding="utf-8").splitlines() if len(line) > 120]
    assert long == []
