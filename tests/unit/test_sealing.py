"""What is marked as encrypted is found wherever it stands, and opens only with its key, and where it was sealed."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Json, field_serializer, model_serializer

from mainspring import Mainspring
from mainspring.errors import (
    ConfigurationError,
    DecryptionFailed,
    EncryptionKeyMissing,
    InvalidOption,
    PayloadTooLarge,
)
from mainspring.keyring import VARIABLE, Keyring
from mainspring.model.codec import ArgumentsCodec
from mainspring.model.options import JobOptions
from mainspring.model.sealing import overlap
from mainspring.model.secrets import Encrypted, Mark, Secret, encrypts

KEY, OTHER = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
CARD = JobOptions(sealed=(("card",),))
TEXT = '{"order":7,"card":"visa 4111"}'


@dataclass
class Card:
    number: Encrypted[str]
    holder: str = ""


class Account(BaseModel):
    user: str
    keys: dict[str, Encrypted[str]] = {}


class Rewritten(BaseModel):
    pin: Encrypted[int]

    @model_serializer
    def write(self) -> dict[str, int]:
        return {"pin": self.pin}


class Renamed(BaseModel):
    pin: Encrypted[int]

    @field_serializer("pin")
    def write(self, pin: int) -> str:
        return str(pin)


# --- where -----------------------------------------------------------------------------------------------------------


def test_what_is_encrypted_is_secret_too() -> None:
    def pay(
        card: Encrypted[str] | None,
        pin: Secret[str],
        cards: list[Card],
        account: Account,
        whole: Encrypted[Account],
        *more: Encrypted[int],
    ) -> None: ...

    codec = ArgumentsCodec(pay)
    inner = (("cards", "*", "number"), ("account", "keys", "*"))
    assert set(codec.encrypted) == {("card",), *inner, ("whole",), ("more", "*")}
    assert set(codec.secrets) == {*codec.encrypted, ("pin",)}
    assert codec.json_schema()["properties"]["whole"]["writeOnly"] is True
    assert (repr(Mark(encrypted=True)), repr(Mark())) == ("encrypted", "secret")


def test_where_nobody_can_say_what_is_where_the_whole_argument_is_encrypted() -> None:
    def odd(
        a: Rewritten, b: Renamed, c: dict[Encrypted[str], int], d: Json[list[Encrypted[str]]], e: int, f: Secret[int]
    ) -> None: ...

    assert {path[:1] for path in ArgumentsCodec(odd).encrypted} == {("a",), ("b",), ("c",), ("d",)}
    assert {("a",), ("c",), ("d",)} <= {*ArgumentsCodec(odd).encrypted}


def test_what_has_no_json_schema_is_encrypted_by_what_its_fields_say() -> None:
    class Strange:
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            from pydantic_core import core_schema

            return core_schema.no_info_plain_validator_function(str)

    class Holder:
        card: Encrypted[str]

        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            from pydantic_core import core_schema

            return core_schema.no_info_plain_validator_function(str)

    def odd(a: Strange, b: Encrypted[str], c: list[Holder]) -> None: ...

    odd.__annotations__ = {"a": Strange, "b": Encrypted[str], "c": list[Holder]}
    assert set(ArgumentsCodec(odd).encrypted) == {("b",), ("c",)}
    assert not encrypts(Secret[str])


def test_of_a_class_whose_annotations_lack_a_name_what_can_be_read_counts() -> None:
    class Half:
        card: Encrypted[str]

    Half.__annotations__ = {"card": Encrypted[str], "other": "Missing"}
    assert encrypts(list[Half])


def test_places_that_overlap() -> None:
    paths = (("cards", "*", "number"), ("pin",))
    assert overlap(("cards", 3), paths)
    assert overlap(("cards", 3, "number", "x"), paths)
    assert not overlap(("cards", 3, "holder"), paths)
    assert not overlap(("order",), paths)


# --- how -------------------------------------------------------------------------------------------------------------


def test_what_is_sealed_opens_and_does_not_look_like_it() -> None:
    ring = Keyring([KEY])
    stored = ring.seal(TEXT, "charge", CARD)
    assert "visa 4111" not in stored
    assert json.loads(stored)["order"] == 7
    assert json.loads(stored)["card"]["$sealed"].startswith(f"{ring.ids[0]}.")
    assert ring.open(stored, "charge", CARD) == TEXT
    assert ring.seal(TEXT, "charge", CARD) != stored, "equal values do not look equal"
    lengths = {len(ring.seal(json.dumps({"card": value}), "charge", CARD)) for value in (True, False, 7, "x" * 30)}
    assert len(lengths) == 1, "short values are of one length"
    assert ring.seal('{"card":null}', "charge", CARD) == '{"card":null}'
    assert ring.opened_after_edit(json.loads(stored) | {"order": 8}, "charge", CARD) == {
        "order": 8,
        "card": "visa 4111",
    }
    assert ring.opened_after_edit({"card": "4222"}, "charge", CARD) == {"card": "4222"}, "it was edited"
    chunk = JobOptions(sealed=(("card",),), each=True)
    many = '{"items":[{"card":"visa 4111"},{"card":"ä"}]}'
    assert ring.open(ring.seal(many, "charge", chunk), "charge", chunk) == many


def test_keys_are_changed_by_putting_a_new_one_in_front() -> None:
    old = Keyring([KEY]).seal(TEXT, "charge", CARD)
    both = Keyring([OTHER, KEY])
    assert both.open(old, "charge", CARD) == TEXT
    assert both.ids[0] in both.seal(TEXT, "charge", CARD)
    with pytest.raises(EncryptionKeyMissing) as caught:
        Keyring([OTHER]).open(old, "charge", CARD)
    assert caught.value.key_id == Keyring([KEY]).ids[0]
    assert repr(caught.value.key_id) in str(caught.value)
    assert set(Keyring([KEY]).digests("x")) < set(both.digests("x"))


def test_what_was_changed_or_moved_does_not_open() -> None:
    ring = Keyring([KEY])
    stored = json.loads(ring.seal('{"card":"visa 4111","pin":"1","list":["a","b"]}', "charge", _sealed("card", "pin")))
    token = stored["card"]["$sealed"]
    id, _, data = token.partition(".")
    last = len(data) - 6
    flipped = f"{id}.{data[:last]}{'A' if data[last] != 'A' else 'B'}{data[last + 1 :]}"
    for wrong in (
        {"card": {"$sealed": flipped}},
        {"card": {"$sealed": f"{id}."}},
        {"card": {"$sealed": f"{id}.%%%"}},
        {"card": {"$sealed": data}},
        {"card": "visa 4111"},
        {"card": {"$sealed": 7}},
        {"pin": stored["card"]},
    ):
        with pytest.raises((DecryptionFailed, EncryptionKeyMissing)) as caught:
            ring.open(json.dumps(wrong), "charge", _sealed("card", "pin"))
        assert isinstance(caught.value, DecryptionFailed) or wrong == {"card": {"$sealed": data}}
    with pytest.raises(DecryptionFailed):
        ring.open(json.dumps(stored), "refund", _sealed("card", "pin"))
    places = JobOptions(sealed=(("list", "*"),))
    one, two = json.loads(ring.seal('{"list":["a","b"]}', "charge", places))["list"]
    with pytest.raises(DecryptionFailed):
        ring.open(json.dumps({"list": [two, one]}), "charge", places)


def test_keys_that_are_none_are_refused_and_not_shown() -> None:
    for wrong in ("hunter2", "", KEY[:-2], KEY + "AAAA", KEY[:-1] + "!", KEY[:-1] + "B", None):
        with pytest.raises(InvalidOption) as caught:
            Keyring([KEY, wrong])  # type: ignore[list-item]
        assert "number 2" in str(caught.value)
        assert not wrong or wrong not in str(caught.value)
    assert Keyring([f" {KEY}=\n"]).ids == Keyring([KEY, KEY]).ids
    assert KEY not in repr(Keyring([KEY]))
    with pytest.raises(InvalidOption, match="give a list"):
        Mainspring("sqlite://", encryption_keys=KEY)


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{OTHER}, {KEY},")
    assert Mainspring("sqlite://").keyring.ids == Keyring([OTHER, KEY]).ids
    assert Mainspring("sqlite://", encryption_keys=[]).keyring.ids == ()


def test_without_a_key_or_over_the_limit_nothing_is_sealed() -> None:
    with pytest.raises(EncryptionKeyMissing, match=r"card is to be encrypted.*MAINSPRING_ENCRYPTION_KEYS"):
        Keyring().seal(TEXT, "charge", CARD)
    with pytest.raises(EncryptionKeyMissing):
        Keyring().check()
    with pytest.raises(PayloadTooLarge, match="once they are encrypted"):
        Keyring([KEY]).seal(json.dumps({"card": "x" * 900_000}), "charge", CARD)


def test_the_library_is_loaded_when_it_is_needed_and_its_extra_named(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys, mainspring; mainspring.Mainspring('sqlite://'); sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    stored = Keyring([KEY]).seal(TEXT, "charge", CARD)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    for attempt in (
        Keyring([KEY]).check,
        lambda: Keyring([KEY]).seal(TEXT, "charge", CARD),
        lambda: Keyring([KEY]).open(stored, "charge", CARD),
    ):
        with pytest.raises(ConfigurationError, match=r"pip install 'mainspring\[encryption\]'"):
            attempt()


def _sealed(*names: str) -> JobOptions:
    return JobOptions(sealed=tuple((name,) for name in names))
