"""A receiver can tell what came from its webhook, whole and just now, from everything else."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from mainspring import InvalidOption, InvalidSignature
from mainspring.clock import now_ms
from mainspring.webhooks import EVENT_ID, SIGNATURE, verify
from mainspring.webhooks.signature import check_secrets, sign

NEW, OLD = "the new secret of them", "the old secret of them"
BODY = json.dumps({"id": "e", "event": "ping"}).encode()
NOW = 1_800_000_000


@pytest.fixture(autouse=True)
def _stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(now_ms, "stopped_at", NOW * 1000)


def header(body: bytes = BODY, *secrets: str, at: int = NOW) -> dict[str, str]:
    return {SIGNATURE: sign(body, secrets or (NEW,), at)}


def test_what_was_signed_with_the_secret_is_the_event() -> None:
    assert verify(BODY, header(), NEW) == {"id": "e", "event": "ping"}
    assert verify(BODY.decode(), header(), NEW) == {"id": "e", "event": "ping"}
    assert verify(bytearray(BODY), header(), NEW) == {"id": "e", "event": "ping"}


def test_the_signature_is_the_one_that_is_documented() -> None:
    mac = hmac.new(NEW.encode(), str(NOW).encode() + b"." + BODY, hashlib.sha256).hexdigest()
    assert header() == {"Mainspring-Signature": f"t={NOW},v1={mac}"}
    assert EVENT_ID == "Mainspring-Event-Id"


@pytest.mark.parametrize("name", [SIGNATURE, SIGNATURE.lower(), SIGNATURE.upper(), "mainspring-SIGNATURE"])
def test_headers_are_found_however_they_are_written(name: str) -> None:
    assert verify(BODY, {"Host": "x", name: header()[SIGNATURE]}, NEW)


def test_while_secrets_are_changed_either_side_may_have_both() -> None:
    assert verify(BODY, header(BODY, NEW), (OLD, NEW))
    assert verify(BODY, header(BODY, OLD), (OLD, NEW))
    assert verify(BODY, header(BODY, NEW, OLD), OLD)
    with pytest.raises(InvalidSignature, match="not signed with this secret"):
        verify(BODY, header(BODY, NEW), OLD)


@pytest.mark.parametrize("off", [0, 299, 300, -300])
def test_what_is_of_now_is_taken(off: int) -> None:
    assert verify(BODY, header(at=NOW + off), NEW)


@pytest.mark.parametrize("off", [-301, 301, -86400])
def test_what_is_too_old_or_of_the_future_is_refused(off: int) -> None:
    with pytest.raises(InvalidSignature, match="away from now, over the tolerance of 5m"):
        verify(BODY, header(at=NOW + off), NEW)
    assert verify(BODY, header(at=NOW + off), NEW, tolerance="2d")


def test_a_changed_body_or_time_is_refused() -> None:
    with pytest.raises(InvalidSignature):
        verify(BODY + b" ", header(), NEW)
    with pytest.raises(InvalidSignature):
        verify(BODY, {SIGNATURE: header(at=NOW - 900)[SIGNATURE].replace(str(NOW - 900), str(NOW))}, NEW)


@pytest.mark.parametrize(
    "text",
    [
        *("", "t=1", "v1=00", "t=x,v1=00", "t=1,t=2,v1=00", f"t={NOW}", f"t={NOW},v2=00", "t=-5,v1=00", "t=٣,v1=00"),
        *("t=9999999999999999999,v1=00", f"t={NOW},v1=é", "," * 10_000),
    ],
)
def test_a_header_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidSignature):
        verify(BODY, {SIGNATURE: text}, NEW)


def test_a_request_without_the_header_is_refused() -> None:
    with pytest.raises(InvalidSignature, match="has no Mainspring-Signature header"):
        verify(BODY, {"Content-Type": "application/json"}, NEW)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidSignature, match="no JSON object"):
        verify(body, header(body), NEW)


def test_as_many_signatures_as_fit_are_read_and_no_more() -> None:
    good = header()[SIGNATURE]
    assert verify(BODY, {SIGNATURE: ",".join([good, *["v1=00"] * 6])}, NEW)
    with pytest.raises(InvalidSignature):
        verify(BODY, {SIGNATURE: ",".join(["v1=00"] * 9 + [good])}, NEW)


@pytest.mark.parametrize("secret", ["", "short", (), (NEW, "short"), 7, [7], None, "x" * 20 + "\ud800"])
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: object) -> None:
    with pytest.raises(InvalidOption) as refused:
        check_secrets(secret)  # type: ignore[arg-type]
    assert "short" not in str(refused.value)
