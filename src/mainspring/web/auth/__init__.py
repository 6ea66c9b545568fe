"""Who asks: the ways of finding that out."""

from mainspring.web.auth.check import AuthCheck, HostApplication, Way
from mainspring.web.auth.loopback import Loopback
from mainspring.web.auth.passwords import Passwords, hash_password
from mainspring.web.auth.proxies import Proxies, ProxyUser
from mainspring.web.auth.tokens import Tokens, make_token

__all__ = [
    "AuthCheck",
    "HostApplication",
    "Loopback",
    "Passwords",
    "Proxies",
    "ProxyUser",
    "Tokens",
    "Way",
    "hash_password",
    "make_token",
]
