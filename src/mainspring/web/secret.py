"""The secret that sessions and tickets are signed with."""

from __future__ import annotations

import os
import secrets

from mainspring.errors import InvalidOption

__all__ = ["SHORTEST", "site_secret"]

SHORTEST = 16
"""So many characters it has at least."""

_of_this_process = secrets.token_urlsafe(32)


def site_secret(given: str | None = None) -> str:
    """The secret given; else $MAINSPRING_WEB_SECRET; else one that this process has made up, which no other knows and
    which is gone with it. Raises `InvalidOption` for one that could be guessed."""
    secret = given or os.environ.get("MAINSPRING_WEB_SECRET") or _of_this_process
    if len(secret) < SHORTEST:
        raise InvalidOption(
            f"the secret has {len(secret)} characters, and needs {SHORTEST} at least: "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"
        )
    return secret
