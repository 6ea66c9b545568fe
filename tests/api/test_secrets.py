"""Arguments marked as secret: the task gets them, and nobody sees them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
import pytest

from mainspring import DuplicateJob, InvalidOption, Mainspring, Secret, Unique, ValidationError, acting
from mainspring.model.codec import ArgumentsCodec
from mainspring.model.secrets import redacted, restored
from mainspring.testing import drain

from .conftest import Hands


@dataclass
class Card:
    number: Secret[str]
    holder: str
    spare: Card | None = None


class Account(pydantic.BaseModel):
    user: str
    keys: dict[str, Secret[str]] = {}


def refuse(value: str) -> str:
    raise ValueError(f"bad: {value}")


Token = Secret[Annotated[str, pydantic.AfterValidator(refuse)]]


def test_the_task_gets_it_and_what_is_shown_has_it_not(app: Mainspring, hands: Hands) -> None:
    @app.task
    def login(user: str, password: Secret[str], pin: Secret[int] | None = None) -> None: ...

    job = login.enqueue("ada", "hunter2")
    assert job.args == {"user": "ada", "password": "hunter2"}
    assert job.shown_args() == {"user": "ada", "password": "[secret]"}
    claim = hands.claim()
    assert login.codec.decode(claim.args) == ((), {"user": "ada", "password": "hunter2"})
    assert login.using(priority=1).enqueue("bob", "x", pin=7).shown_args()["pin"] == "[secret]"
    assert login.enqueue("bob", "x", pin=None).shown_args() == {"user": "bob", "password": "[secret]", "pin": None}


def test_who_does_not_know_the_task_does_not_see_it_either(app: Mainspring) -> None:
    @app.task
    def login(user: str, password: Secret[str]) -> None: ...

    job = login.enqueue("ada", "hunter2")
    with Mainspring(app.url) as stranger:
        assert stranger.jobs.get(job.id).shown_args() == {"user": "ada", "password": "[secret]"}


def test_secrets_within_dataclasses_models_and_lists(app: Mainspring) -> None:
    @app.task
    def pay(cards: list[Card], account: Account, *notes: Secret[str], **more: Secret[str]) -> None: ...

    card = Card("4111", "Ada", Card("5500", "Bob"))
    job = pay.enqueue([card], Account(user="ada", keys={"a": "k1"}), "n1", "n2", x="y")
    shown = job.shown_args()
    assert shown["cards"][0] == {"number": "[secret]", "holder": "Ada", "spare": "[secret]"}
    assert shown["account"] == {"user": "ada", "keys": {"a": "[secret]"}}
    assert (shown["notes"], shown["more"]) == (["[secret]", "[secret]"], {"x": "[secret]"})
    for secret in ("4111", "5500", "k1", "n1", '"y"'):
        assert secret not in json.dumps(shown)


def test_a_chunk_of_arguments_is_redacted_too(app: Mainspring) -> None:
    @app.task
    def send(token: Secret[str]) -> None: ...

    flow = send.map(["t1", "t2"], chunk=2).enqueue()
    (job,) = (job for job in flow.jobs() if job.task == "send")
    assert job.shown_args() == {"items": [{"token": "[secret]"}, {"token": "[secret]"}]}
    with Mainspring(app.url) as stranger:
        assert stranger.jobs.get(job.id).shown_args() == job.shown_args()


def test_schedules_and_the_audit_log_have_it_not(app: Mainspring) -> None:
    @app.task
    def login(user: str, password: Secret[str]) -> None: ...

    with acting("ada"):
        app.schedules.put("daily", login, every="1d", args={"user": "ada", "password": "hunter2"})
        login.enqueue("ada", "hunter2")
        job = app.schedules.run_now("daily")
    (view,) = app.schedules.list()
    assert (view.args["password"], view.shown_args["password"]) == ("hunter2", "[secret]")
    assert job.refresh().shown_args()["password"] == "[secret]"
    assert "hunter2" not in json.dumps([dict(entry.detail) for entry in app.audit.list()])


def test_errors_about_arguments_do_not_say_it(app: Mainspring) -> None:
    def refuse(value: str) -> str:
        raise ValueError(f"bad: {value}")

    @app.task
    def login(
        user: str, password: Secret[int], token: Secret[Annotated[str, pydantic.AfterValidator(refuse)]]
    ) -> None: ...

    for args, kwargs in [
        (("ada", "hunter2", "hunter3"), {}),
        (("ada", 7, "hunter3"), {}),
        (("ada",), {"pasword": "hunter2"}),
        (("ada", object(), "x"), {}),
    ]:
        with pytest.raises(ValidationError) as caught:
            app.tasks["login"].job(*args, **kwargs)
        assert "hunter" not in str(caught.value)
    with pytest.raises(ValidationError) as caught:
        app.tasks["login"].codec.decode('{"user":"ada","password":"hunter2","token":"hunter3","x":"hunter4"}')
    assert "hunter" not in str(caught.value)


def test_a_default_that_is_secret_is_shown_nowhere(app: Mainspring) -> None:
    class Login(pydantic.BaseModel):
        password: Secret[str] = "hunter3"
        default: str = "hunter no more"

    @app.task(retry=1)
    def login(user: str, as_: Login, token: Secret[str] | None = "hunter2") -> None:
        raise ValueError(f"{user} {token}")

    login.__wrapped__.__annotations__ = {"user": str, "as_": Login, "token": Secret[str] | None}  # type: ignore[attr-defined]
    schema = json.dumps(login.codec.json_schema())
    assert ("hunter2" in schema, "hunter3" in schema, "hunter no more" in schema) == (False, False, True)
    with pytest.raises(ValidationError) as caught:
        login.enqueue(7, Login())  # type: ignore[arg-type]
    assert "token" in str(caught.value)
    assert "hunter" not in str(caught.value)
    job = login.enqueue("ada", Login())
    drain(app)
    assert job.refresh().error.message == "ada [secret]"  # type: ignore[union-attr]


def test_the_names_of_keys_do_not_have_it(app: Mainspring) -> None:
    @app.task(unique=Unique(on_conflict="reject"))
    def login(user: str, password: Secret[str]) -> None: ...

    job = login.enqueue("ada", "hunter2")
    with pytest.raises(DuplicateJob) as caught:
        login.enqueue("ada", "hunter2")
    assert "hunter2" not in str(caught.value)
    assert not login.enqueue("ada", "hunter3").existed
    assert job.refresh().state == "queued"


def test_forms_are_told(app: Mainspring) -> None:
    @app.task
    def login(user: str, password: Secret[str]) -> None: ...

    properties = login.codec.json_schema()["properties"]
    assert (properties["password"].get("writeOnly"), properties["user"].get("writeOnly")) == (True, None)


def test_tasks_without_secrets_store_nothing_about_them(app: Mainspring) -> None:
    @app.task
    def plain(card: int, at: list[dict[str, str]]) -> None: ...

    assert plain.enqueue(1, []).record.options is None


def test_what_has_no_json_schema_is_hidden_by_its_annotation() -> None:
    class Odd:
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            from pydantic_core import core_schema

            return core_schema.no_info_plain_validator_function(str)

    def odd(a: Odd, b: Secret[str], c: list[Secret[str]]) -> None: ...

    odd.__annotations__ = {"a": Odd, "b": Secret[str], "c": list[Secret[str]]}
    assert set(ArgumentsCodec(odd).secrets) == {("b",), ("c",)}


def test_what_is_hidden_can_be_put_back() -> None:
    args = {"a": [{"k": 1}, {"k": 2}], "b": {"x": "y"}, "c": 3}
    paths = (("a", "*", "k"), ("b",))
    shown = redacted(args, paths)
    assert shown == {"a": [{"k": "[secret]"}, {"k": "[secret]"}], "b": "[secret]", "c": 3}
    assert restored(shown, args, paths) == args
    shown["a"][1]["k"], shown["c"] = 9, 4
    assert restored(shown, args, paths) == {"a": [{"k": 1}, {"k": 9}], "b": {"x": "y"}, "c": 4}
    shown["a"].append({"k": "[secret]"})
    with pytest.raises(InvalidOption):
        restored(shown, args, paths)
    with pytest.raises(InvalidOption):
        restored({"a": [{"k": "[secret]"}]}, {}, paths)
