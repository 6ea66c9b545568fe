"""Which addresses deliveries go to, and what a webhook's URL may be."""

from __future__ import annotations

import pytest

from mainspring import InvalidURL
from mainspring.webhooks.addresses import why_refused
from mainspring.webhooks.target import Target

REFUSED = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.254 127.0.0.1 127.255.255.255 169.254.169.254
172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1
203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:a9fe:a9fe 64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe
64:ff9b:1::1 100::1 fc00::1 fd12:3456::1 fe80::1 fe80::1%eth0 fec0::1 ff02::1 2001::1 2001:db8::1 2002:7f00:1::
3fff::1 4000::1 nonsense
""".split()
ALLOWED = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.0 128.0.0.1 169.253.255.255 172.15.255.255 172.32.0.0
192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 2606:4700::1111 2a00:1450::1 64:ff9b::8.8.8.8
::ffff:8.8.8.8 2400:cb00::1
""".split()


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_of_the_public_internet_is_refused(address: str) -> None:
    assert why_refused(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_what_is_of_the_public_internet_is_not(address: str) -> None:
    assert why_refused(address) is None


def test_the_reason_says_what_it_is() -> None:
    assert why_refused("127.0.0.1") == why_refused("::1") == why_refused("::ffff:127.0.0.1") == "loopback"
    assert "metadata" in (why_refused("169.254.169.254") or "")


URLS = {
    "https://example.com": ("example.com", 443, "/", "example.com"),
    "https://Example.COM./jobs": ("example.com", 443, "/jobs", "example.com"),
    "http://example.com:8080/a?b=c&d=e f".replace(" ", "%20"): (
        "example.com",
        8080,
        "/a?b=c&d=e%20f",
        "example.com:8080",
    ),
    "https://bücher.example/ü": ("xn--bcher-kva.example", 443, "/%C3%BC", "xn--bcher-kva.example"),
    "https://[2606:4700::1111]:444/x": ("2606:4700::1111", 444, "/x", "[2606:4700::1111]:444"),
    "http://under_score.example/%2e%2e/": ("under_score.example", 80, "/%2e%2e/", "under_score.example"),
}


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_taken_apart_once(url: str) -> None:
    target = Target.parse(url, allow_private=False)
    assert (target.host, target.port, target.path, target.authority) == URLS[url]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com/", "no http"),
        ("//example.com/", "no http"),
        ("https:///x", "no http"),
        ("example.com", "no http"),
        ("https://user:pass@example.com/", "a user or a password"),
        ("https://example.com/#part", "a fragment"),
        ("https://example.com:0/", "no port 0"),
        ("https://example.com:99999/", "out of range"),
        ("https://example.com/a b", "no URL"),
        ("https://example.com/\r\nX: y", "no URL"),
        ("https://exa\x00mple.com/", "no URL"),
        ("https://exa|mple.com/", "no name"),
        ("https://[fe80::1%25eth0]/", "no name"),
        ("https://" + "x" * 3000, "no URL"),
        ("https://127.0.0.1/", "loopback"),
        ("https://[::1]/", "loopback"),
        ("https://[::ffff:10.0.0.1]/", "private"),
        ("https://169.254.169.254/latest/meta-data", "metadata"),
        ("https://localhost/", "loopback"),
        ("https://a.localhost./", "loopback"),
        (7, "no URL"),
    ],
)
def test_what_is_no_receiver_is_refused_when_it_is_declared(url: str, why: str) -> None:
    with pytest.raises(InvalidURL, match=why):
        Target.parse(url, allow_private=False)


def test_a_query_is_not_shown() -> None:
    target = Target.parse("https://example.com/jobs?token=hidden", allow_private=False)
    assert str(target) == "https://example.com/jobs?…"
    with pytest.raises(InvalidURL) as refused:
        Target.parse("https://127.0.0.1/jobs?token=hidden", allow_private=False)
    assert "hidden" not in str(refused.value)
