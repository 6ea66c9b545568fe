"""The keys that arguments are encrypted with, and the encrypting itself: AES-256-GCM, by `cryptography`.

The first key encrypts, all of them decrypt; so a new one comes in front of the old one, which goes when no job needs it
any more. A token is `<key id>.<salt, nonce and ciphertext in base64url>`, and has a key of its own, derived from the
app's key and the salt: the random nonces of GCM are good for some 2**32 values of one key, and jobs are many.
"""

from __future__ import annotations

import hmac
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mainspring.errors import ConfigurationError, DecryptionFailed, EncryptionKeyMissing, InvalidOption, PayloadTooLarge
from mainspring.model.sealing import opened, sealed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from mainspring.model.options import JobOptions

__all__ = ["VARIABLE", "Keyring"]

VARIABLE = "MAINSPRING_ENCRYPTION_KEYS"
"""The environment's variable with keys, separated by commas."""

_KEY_BYTES = 32
_SALT_BYTES = 12
_NONCE_BYTES = 12
_GIVE_IT = f"give it to Mainspring(encryption_keys=[...]) or in ${VARIABLE}"


class Keyring:
    """Encryption keys, the one to encrypt with first. Raises `InvalidOption`, which shows none of them."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        read = [_key(each, number) for number, each in enumerate(keys, 1)]
        self._keys = {_digest(key, b"id")[:4].hex(): key for key in read}

    def __repr__(self) -> str:
        return f"<Keyring {', '.join(self._keys) or 'without keys'}>"

    @property
    def ids(self) -> tuple[str, ...]:
        """What the keys are called, in tokens and in errors. They say nothing of the keys."""
        return tuple(self._keys)

    def check(self) -> None:
        """Raises `EncryptionKeyMissing` or `ConfigurationError` where nothing can be encrypted."""
        if not self._keys:
            raise EncryptionKeyMissing(f"there is no encryption key; {_GIVE_IT}")
        _cipher(bytes(_KEY_BYTES))

    # --- a job's arguments ---

    def seal(self, text: str, task: str, options: JobOptions) -> str:
        """Arguments, JSON object text, as they are stored under these options. Raises `EncryptionKeyMissing`,
        `ConfigurationError`, `PayloadTooLarge`."""
        paths = options.sealed_paths
        if not paths:
            return text
        if not self._keys:
            names = ", ".join(dict.fromkeys(path[0] for path in options.sealed))
            raise EncryptionKeyMissing(
                f"task {task!r}: {names} is to be encrypted, and the app has no key for that; {_GIVE_IT}"
            )
        from mainspring.model.codec import MAX_BYTES  # it loads pydantic, and whoever has arguments has it

        stored = _text(sealed(json.loads(text), task, paths, self._token))
        if len(stored.encode()) > MAX_BYTES:
            raise PayloadTooLarge(
                f"arguments of task {task!r}: over {MAX_BYTES:,} bytes as JSON once they are encrypted; keep the data "
                "in a file or a table, and hand over its path or key"
            )
        return stored

    def open(self, text: str, task: str, options: JobOptions) -> str:
        """The arguments that `seal` was given. Raises `EncryptionKeyMissing`, `ConfigurationError`,
        `DecryptionFailed`."""
        paths = options.sealed_paths
        return _text(opened(json.loads(text), task, paths, self._value)) if paths else text

    def opened_after_edit(self, args: Mapping[str, Any], task: str, options: JobOptions) -> dict[str, Any]:
        """Arguments as JSON values of which some are still as they are stored. Raises as `open`."""
        args = opened(dict(args), task, options.sealed_paths, self._value, partly=True)
        return dict(args)

    def digests(self, text: str) -> tuple[str, ...]:
        """What stands for a text where it is to be compared and not to be known: once for each key, so that equal ones
        are found to be equal while keys are changed."""
        return tuple(_digest(key, b"text", text.encode()).hex() for key in self._keys.values())

    # --- one value ---

    def _token(self, value: bytes, context: bytes) -> str:
        id, key = next(iter(self._keys.items()))
        salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
        data = _cipher(_digest(key, b"seal", salt)).encrypt(nonce, value, context)
        return f"{id}.{urlsafe_b64encode(salt + nonce + data).decode()}"

    def _value(self, token: str, context: bytes) -> bytes:
        id, _, data = token.partition(".")
        key = self._keys.get(id)
        if key is None:
            raise EncryptionKeyMissing(f"its arguments are encrypted with the key {id[:8]!r}; {_GIVE_IT}", id[:8])
        try:
            raw = urlsafe_b64decode(data)
            cipher = _cipher(_digest(key, b"seal", raw[:_SALT_BYTES]))
            body = raw[_SALT_BYTES:]
            value: bytes = cipher.decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], context)
        except ConfigurationError:
            raise
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not what was stored
            raise DecryptionFailed(
                "an encrypted argument was changed since it was stored, or belongs to another task or argument"
            ) from None
        return value


def _key(text: object, number: int) -> bytes:
    stripped = text.strip() if isinstance(text, str) else ""
    try:
        key = urlsafe_b64decode(stripped + "=" * (-len(stripped) % 4))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES or urlsafe_b64encode(key).decode().rstrip("=") != stripped.rstrip("="):
        raise InvalidOption(
            f"encryption key number {number} is not {_KEY_BYTES} bytes in base64url; "
            f"python -c 'import secrets; print(secrets.token_urlsafe({_KEY_BYTES}))' makes one"
        )
    return key


def _digest(key: bytes, purpose: bytes, text: bytes = b"") -> bytes:
    return hmac.digest(key, b"mainspring " + purpose + b"\0" + text, "sha256")


def _cipher(key: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise ConfigurationError(
            f"encrypted arguments need cryptography, which cannot be loaded ({error}); install it: "
            "pip install 'mainspring[encryption]'"
        ) from None
    return AESGCM(key)


_text = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
