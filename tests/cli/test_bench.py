"""`mainspring bench`: numbers from a store of its own, beside the user's."""

from __future__ import annotations

import json

from .conftest import Project


def test_it_measures_beside_the_store_and_leaves_nothing(project: Project) -> None:
    project.app.tasks["add"].enqueue(1, 2)
    before = sorted(path.name for path in project.folder.iterdir())
    code, out, _ = project.finish("bench", "--app", "shop.jobs:app", "-n", "300", "-c", "20", "--json")
    assert code == 0
    measured = json.loads(out)
    assert [each["name"] for each in measured["results"]][-1] == "run to the end"
    assert measured["results"][-1]["jobs"] == 300
    assert all(each["per_second"] > 0 for each in measured["results"])
    assert {path.name for path in project.folder.iterdir()} - set(before) <= {"__pycache__"}
    assert project.app.jobs.count() == 1


def test_it_makes_no_store_where_there_is_none(project: Project) -> None:
    code, out, _ = project.finish("bench", "--url", "sqlite:///none.db", "-n", "100")
    assert code == 0
    assert "run to the end" in out
    assert not (project.folder / "none.db").exists()
