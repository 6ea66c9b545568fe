"""Which addresses a delivery may go to: those of the public internet, and no others unless somebody says so.

A webhook's URL is often what a customer typed in. Without this it would reach whatever the worker's machine can reach:
its own services, the database beside it, the cloud's metadata. So the decision is made about the very address that is
connected to, after DNS: a name that led elsewhere when it was looked up before, a number written in octal, an IPv4
address inside an IPv6 one are all the same thing there.

From the IANA special-purpose registries (RFC 6890 and its updates), written out, since what `ipaddress` takes for
global depends on Python's version.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["why_refused"]

_V4 = tuple(
    (IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier's customers"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_V6 = tuple(
    (IPv6Network(network), what)
    for network, what in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "reserved"),
        ("2002::/16", "a tunnel to an IPv4 address"),
        ("3fff::/20", "reserved"),
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
"""All that is given out of IPv6; the rest is special in one way or another."""
_NAT64 = IPv6Network("64:ff9b::/96")
"""Addresses of IPv4 as a network without any has them (RFC 6052)."""


def why_refused(address: str) -> str | None:
    """Why no delivery goes to that address, in a word or two; None: it may."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return "no address"
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or (IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        if inner is None:
            return _of_v6(ip)
        ip = inner
    return next((what for network, what in _V4 if ip in network), None)


def _of_v6(ip: IPv6Address) -> str | None:
    named = next((what for network, what in _V6 if ip in network), None)
    return named or (None if ip in _GLOBAL_V6 else "reserved")
