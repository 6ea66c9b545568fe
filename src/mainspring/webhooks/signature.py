"""How a delivery is signed, and how its receiver finds out that it is ours, whole, and of now.

    Mainspring-Signature: t=1764300000,v1=5257a869e7…

`t` is when it was sent, in seconds since 1970 UTC; each `v1` is the HMAC-SHA256, in hex, of `t`, a full stop and the
body, with one of the sender's secrets. The time is signed too, so that nobody can send an old one again as new.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mainspring.clock import now_ms
from mainspring.errors import InvalidOption, InvalidSignature
from mainspring.model.durations import Duration, format_ms, to_ms
from mainspring.model.text import clean, quote

__all__ = ["EVENT_ID", "SIGNATURE", "Secrets", "check_secrets", "sign", "verify"]

SIGNATURE = "Mainspring-Signature"
EVENT_ID = "Mainspring-Event-Id"

SHORTEST = 16
"""Characters. `secrets.token_urlsafe(32)` makes a good one of 43."""
SIGNATURES_READ = 8
"""A header that holds more of them is not worth the work."""

Secrets = str | Sequence[str]
"""One secret, or several while one takes the place of another."""


def check_secrets(secret: Secrets) -> tuple[str, ...]:
    """The secrets, all fit to sign with. Raises `InvalidOption`, which shows none of them."""
    given = (secret,) if isinstance(secret, str) else tuple(secret) if isinstance(secret, Sequence) else ()
    if not given or not all(isinstance(each, str) for each in given):
        raise InvalidOption("secret= is no text, nor several; give one that only you and the receiver know")
    if any(clean(each) != each for each in given):
        raise InvalidOption("secret= has characters that are no text; make one with secrets.token_urlsafe(32)")
    if any(len(each) < SHORTEST for each in given):
        raise InvalidOption(
            f"secret= is under {SHORTEST} characters, which can be guessed; make one with secrets.token_urlsafe(32)"
        )
    return given


def sign(body: bytes, secrets: Iterable[str], at: int) -> str:
    """The header of a body that is sent at that second, with a signature by each secret."""
    return ",".join([f"t={at}", *(f"v1={_mac(body, secret, str(at))}" for secret in secrets)])


def verify(
    body: bytes | str, headers: Mapping[str, str], secret: Secrets, *, tolerance: Duration = "5m"
) -> dict[str, Any]:
    """The event in a request that came from a webhook, if it did. Raises `InvalidSignature` if not.

        event = verify(request.body, request.headers, SECRET)

    `body` is the request's body exactly as it came, not what a framework has made of it. `secret` may be several, of
    which one must have signed: the old one and the new one while they are changed. A request that was signed longer ago
    than `tolerance`, or so much ahead of this machine's clock, is refused. The same event may come more than once: its
    "id" is the same then.
    """
    raw = body.encode() if isinstance(body, str) else bytes(body)
    at, signatures = _read(_header(headers, SIGNATURE))
    expected = [_mac(raw, each, at) for each in check_secrets(secret)]
    # All are compared, so that the time it takes tells nothing.
    fitting = [hmac.compare_digest(mine, theirs) for mine in expected for theirs in signatures]
    if not any(fitting):
        raise InvalidSignature(
            "the body was not signed with this secret; is it the raw body of the request, and this webhook's secret?"
        )
    off_ms = abs(now_ms() - int(at) * 1000)
    if off_ms > (allowed := to_ms(tolerance)):
        raise InvalidSignature(
            f"the request was signed {format_ms(off_ms)} away from now, over the tolerance of {format_ms(allowed)}"
        )
    try:
        event = json.loads(raw)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise InvalidSignature("the body is signed, and is no JSON object: it is no event of a webhook")
    return event


def _mac(body: bytes, secret: str, at: str) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def _header(headers: Mapping[str, str], name: str) -> str:
    for each in (name, name.lower()):
        if isinstance(value := headers.get(each), str):
            return value
    for key, value in headers.items():
        if isinstance(key, str) and key.lower() == name.lower() and isinstance(value, str):
            return value
    raise InvalidSignature(f"the request has no {name} header: it is from no webhook, or something on the way took it")


def _read(header: str) -> tuple[str, list[str]]:
    """The time as it was written, and the signatures."""
    times: list[str] = []
    signatures: list[str] = []
    for part in header.split(",", SIGNATURES_READ + 1)[: SIGNATURES_READ + 1]:
        key, _, value = part.strip().partition("=")
        if key == "t":
            times.append(value)
        elif key == "v1" and value.isascii():
            signatures.append(value)
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit() and len(times[0]) <= 12) or not signatures:
        raise InvalidSignature(f"{SIGNATURE} {quote(header)} cannot be read; it is t=SECONDS,v1=HEX")
    return times[0], signatures
