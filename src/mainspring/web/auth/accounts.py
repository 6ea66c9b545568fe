"""Who may sign in, and as what: lines of `name:role:secret`, from the command line or a file.

ann:admin:$argon2id$v=19$m=65536,t=3,p=4$…     a password's hash, by `mainspring web --hash-password`
deploys:operator:sha256:2bb80d537b1da3e3…      a token's, by `mainspring web --make-token`
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mainspring.errors import ConfigurationError, InvalidOption
from mainspring.model.text import quote
from mainspring.web.identity import MAX_NAME, Identity, Role

__all__ = ["Account", "accounts_in", "accounts_of"]

logger = logging.getLogger("mainspring.web")

MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody, and what proves that it is him."""

    identity: Identity
    secret: str
    """A hash, from which the password or token cannot be told."""


def accounts_of(lines: Iterable[str], place: str) -> tuple[Account, ...]:
    """The accounts in these lines, of which empty ones and those that begin with # mean nothing. Raises
    `ConfigurationError`, which names the place and never the secret."""
    accounts: dict[str, Account] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        account = _account(line.strip(), f"{place}, line {number}")
        if account.identity.name in accounts:
            raise ConfigurationError(f"{place}, line {number}: {quote(account.identity.name)} is there twice")
        accounts[account.identity.name] = account
    return tuple(accounts.values())


def accounts_in(path: Path) -> tuple[Account, ...]:
    """The accounts in a file. Raises `ConfigurationError`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                logger.warning("%s can be written by anybody, who can then come in as anybody", quote(str(path)))
        text = data.decode("utf-8")
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{str(path)!r} is not UTF-8 text") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"{str(path)!r} has over {MAX_FILE_BYTES:,} bytes")
    accounts = accounts_of(text.splitlines(), str(path))
    if not accounts:
        raise ConfigurationError(f"{str(path)!r} names nobody; write lines such as name:role:hash")
    return accounts


def _account(line: str, place: str) -> Account:
    name, _, rest = line.partition(":")
    role, _, secret = rest.partition(":")
    if not name or not role or not secret:
        raise ConfigurationError(f"{place}: write name:role:hash, where role is viewer, operator or admin")
    try:
        identity = Identity(name, Role.named(role))
    except InvalidOption as error:
        raise ConfigurationError(f"{place}: {error}") from None
    if identity.name != name:
        raise ConfigurationError(
            f"{place}: a name has up to {MAX_NAME} letters, no control characters, and single spaces"
        )
    return Account(identity, secret)
