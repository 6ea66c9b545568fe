"""From `module:app` to the app: what is found, and what is said when nothing is."""

from __future__ import annotations

import pytest

from mainspring import ConfigurationError
from mainspring.cli.target import load_app

from .conftest import Project


@pytest.mark.parametrize("target", ["shop.jobs:app", "shop.jobs", "shop/jobs.py:app", "shop/jobs.py", "./shop/jobs.py"])
def test_the_ways_to_name_an_app(project: Project, target: str) -> None:
    app = load_app(target)
    assert "send_welcome" in app.tasks
    assert app is project.app


def test_a_file_elsewhere_is_imported_as_part_of_its_package(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("shop/more.py", "from . import jobs\napp = jobs.app")
    elsewhere = project.folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert "add" in load_app(f"{project.folder}/shop/more.py:app").tasks


def test_an_app_inside_another_object_is_named_with_dots(project: Project) -> None:
    project.write("nested.py", "from mainspring import Mainspring\nclass settings:\n    app = Mainspring()")
    assert load_app("nested:settings.app").tasks == {}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nowhere:app", "there is no module 'nowhere'"),
        ("shop.nowhere:app", "there is no module 'shop.nowhere'"),
        ("shop.jobs.app", "did you mean shop.jobs:app?"),
        ("shop.jobs:ap", "did you mean shop.jobs:app?"),
        ("shop.jobs:send_welcome", "not a Mainspring app; its apps are: shop.jobs:app"),
        ("shop:app", "there is no Mainspring app in it"),
        ("shop", "there is no Mainspring app in shop"),
        ("two", "say which: two:one, two:other"),
        ("shop/nowhere.py:app", "there is no file"),
        (":app", "names no app"),
        ("", "names no app"),
        ("..shop:app", "names no app"),
    ],
)
def test_a_wrong_target_is_explained(project: Project, target: str, said: str) -> None:
    project.write("two.py", "from mainspring import Mainspring\none = Mainspring()\nother = Mainspring()")
    with pytest.raises(ConfigurationError) as caught:
        load_app(target)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("import not_installed", "No module named 'not_installed'"),
        ("from json import nothing", "cannot import name 'nothing' from 'json'"),
    ],
)
def test_what_the_users_code_cannot_import_is_one_line_that_names_the_place(
    project: Project, wrong: str, said: str
) -> None:
    """That is no mistake on the command line, so it exits with 1."""
    project.write("shop/broken.py", f"from mainspring import Mainspring\n{wrong}\napp = Mainspring()")
    error = project.run("worker", "shop.broken:app", code=1).stderr
    assert error.startswith("error: shop.broken cannot be imported: ")
    assert f"shop/broken.py, line 2: {said}" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def (", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit"),
    ],
)
def test_code_that_fails_on_import_shows_why(project: Project, code: str, said: str) -> None:
    project.write("failing.py", code)
    error = project.run("worker", "failing:app", code=1).stderr
    assert said in error
    assert "failing.py" in error
    assert error.splitlines()[-1].startswith("error: failing cannot be imported")


def test_a_wrong_option_in_the_code_is_one_line_that_names_the_place(project: Project) -> None:
    project.write(
        "odd.py", "from mainspring import Mainspring\napp = Mainspring()\n@app.task(priority='high')\ndef f(): ..."
    )
    error = project.run("worker", "odd:app", code=1).stderr
    assert "odd.py, line 3" in error
    assert "priority='high'" in error
    assert "Traceback" not in error


def test_the_app_and_the_store_can_come_from_the_environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_APP", "shop.jobs:app")
    project.run("enqueue", "add", "a=1", "b=2")
    assert [job["task"] for job in project.json("jobs", "list")] == ["add"]
    monkeypatch.delenv("MAINSPRING_APP")
    monkeypatch.setenv("MAINSPRING_URL", "sqlite:///shop.db")
    assert len(project.json("jobs", "list")) == 1
    monkeypatch.setenv("MAINSPRING_URL", "sqlite:///nowhere.db")
    assert len(project.json("--url", "sqlite:///shop.db", "jobs", "list")) == 1
    assert len(project.json("--url", "sqlite:///nowhere.db", "jobs", "list", "--app", "shop.jobs:app")) == 1


@pytest.mark.parametrize(
    "command",
    [
        ["jobs", "list"],
        ["jobs", "show", "x"],
        ["jobs", "retry", "x"],
        ["queues", "list"],
        ["queues", "pause", "email"],
        ["schedules", "list"],
        ["workers", "list"],
    ],
    ids=" ".join,
)
def test_looking_at_a_store_that_is_not_there_says_so_and_makes_none(project: Project, command: list[str]) -> None:
    before = sorted(project.folder.rglob("*.db*"))
    error = project.run(*command, code=1).stderr
    assert "there is no store" in error
    assert "mainspring.db" in error
    assert sorted(project.folder.rglob("*.db*")) == before == []
