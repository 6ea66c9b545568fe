"""One request to a receiver whom nobody trusts: where it goes, how long it takes, how much of the answer is read."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from punctual import seconds, takes_less_than
from servers.certificates import Certificates
from servers.receiver import Received, Receiver, receiving

from mainspring import DeliveryFailed
from mainspring.webhooks import posting
from mainspring.webhooks.posting import EXCERPT_SHOWN, Answer, Forbidden
from mainspring.webhooks.target import Target

BODY = b'{"id": 1}'
SOON = 20.0
"""Seconds: far more than any of these takes, which end in a second or so."""


def post(url: str, *, timeout: float = SOON, allow_private: bool = True, body: bytes = BODY) -> Answer:
    target = Target.parse(url, allow_private=True)
    return posting.post(target, body, {"X-Of": "us"}, timeout=timeout, allow_private=allow_private)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as receiver:
        yield receiver


@contextmanager
def speaking(said: list[bytes], pause: float = 0.0) -> Iterator[str]:
    """A server that says that to whoever comes, whatever he says, piece by piece, and then nothing."""
    ending = threading.Event()

    def speak(client: socket.socket) -> None:
        with client:
            try:
                client.settimeout(SOON)
                client.recv(65536)
                for piece in said:
                    client.sendall(piece)
                    if ending.wait(pause):
                        return
                ending.wait(SOON)
            except OSError:
                pass

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=speak, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        ending.set()


# --- what is sent, what is read ---


def test_it_is_sent_whole_and_the_answer_is_read(receiver: Receiver) -> None:
    body = b"x" * 3_000_000
    answer = post(f"{receiver.url}/a%20b?c=d", body=body)
    assert (answer.status, answer.excerpt, answer.address) == (200, "thanks", "127.0.0.1")
    (got,) = receiver.received
    assert got.path == "/hook/a%20b?c=d"
    assert got.body == body
    assert got.headers["X-Of"] == "us"
    assert got.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["Connection"] == "close"
    assert got.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("status", [200, 204, 301, 302, 307, 308, 404, 410, 500])
def test_whatever_the_status_nothing_else_is_asked(receiver: Receiver, status: int) -> None:
    with receiving(Receiver()) as elsewhere:
        receiver.answers = [(status, {"Location": elsewhere.url, "Retry-After": "7"})]
        receiver.body = b""
        answer = post(receiver.url)
        assert (answer.status, answer.retry_after) == (status, "7")
        assert not elsewhere.received
    assert len(receiver.received) == 1


def test_of_a_long_answer_a_little_is_read(receiver: Receiver) -> None:
    sent = []

    def flood(handler: BaseHTTPRequestHandler, received: Received) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(10_000):
            handler.wfile.write(b"\x1b[31m\x00" + b"y" * 10_000)
            sent.append(1)

    receiver.answering = flood
    excerpt = post(receiver.url).excerpt
    assert len(excerpt.encode()) <= EXCERPT_SHOWN
    assert excerpt.startswith("\ufffd[31m\ufffdyyy")
    assert len(sent) < 10_000


def test_a_chunked_answer_is_read() -> None:
    with speaking([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nyes\r\n", b"0\r\n\r\n"]) as url:
        assert post(url).excerpt == "yes"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\ncut off",
        b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n",
    ],
)
def test_what_was_answered_counts_whatever_follows(answer: bytes) -> None:
    with speaking([answer]) as url:
        assert post(url, timeout=3).status == 202


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"\x00" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    ],
)
def test_what_is_no_http_is_an_error(answer: bytes) -> None:
    with speaking([answer]) as url, pytest.raises(DeliveryFailed):
        post(url, timeout=2)


# --- how long it takes ---


@pytest.mark.parametrize(
    ("said", "pause"),
    [
        ([], 0),
        ([b"HTTP/1.1 200 OK\r\n"], 0),
        ([bytes([letter]) for letter in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000], 0.1),
    ],
    ids=["silence", "half an answer", "a byte now and then"],
)
def test_an_answer_that_does_not_come_in_time_is_not_waited_for(said: list[bytes], pause: float) -> None:
    def wait() -> None:
        with speaking(said, pause) as url, pytest.raises(DeliveryFailed, match=r"did not answer within 0\.5 s"):
            post(url, timeout=0.5)

    takes_less_than(5, lambda: seconds(wait))


def test_a_body_that_drips_does_not_hold_it_up() -> None:
    def drip() -> None:
        with speaking([b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", *[b"y"] * 1000], 0.1) as url:
            assert post(url, timeout=2).status == 200

    takes_less_than(5, lambda: seconds(drip))


def test_a_receiver_that_is_not_there_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]
    with pytest.raises(DeliveryFailed, match="cannot be reached"):
        post(f"http://127.0.0.1:{port}/")


# --- where it goes ---


class Resolver:
    """What names lead to, in place of DNS: one answer after the other, the last for ever. Others are asked as ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **names: list[list[str]]) -> None:
        self.asked: list[str] = []
        self._names = {f"{name}.test": list(answers) for name, answers in names.items()}
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host not in self._names:
            return self._real(host, port, *args, **options)
        self.asked.append(host)
        answers = self._names[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [each for address in found for each in self._real(address, port, *args, **options)]


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0177.0.0.1", "0x7f.0.0.1", "127.1", "0", "[::1]"])
def test_loopback_is_refused_however_it_is_written(receiver: Receiver, host: str) -> None:
    with pytest.raises(Forbidden, match=r"which is (loopback|unspecified); no delivery goes there"):
        post(f"http://{host}:{receiver.port}/", allow_private=False)
    assert not receiver.received


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
)
def test_a_name_that_leads_to_a_private_address_is_refused(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    Resolver(monkeypatch, inner=[[address]])
    with pytest.raises(Forbidden, match=r"inner\.test leads to"):
        post(f"http://inner.test:{receiver.port}/", allow_private=False)
    assert not receiver.received


def test_one_private_address_among_others_condemns_them(monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver(monkeypatch, mixed=[["8.8.8.8", "127.0.0.1"]])
    with pytest.raises(Forbidden):
        post("http://mixed.test/", allow_private=False)


def test_a_name_is_looked_up_once_and_led_elsewhere_in_vain(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: a public address for the check, loopback for whoever looks it up again to connect."""
    resolver = Resolver(monkeypatch, rebinds=[["192.0.2.1"], ["127.0.0.1"]])
    monkeypatch.setattr(posting, "why_refused", lambda address: None if address == "192.0.2.1" else "loopback")
    with pytest.raises(DeliveryFailed):
        post(f"http://rebinds.test:{receiver.port}/", allow_private=False, timeout=0.5)
    assert resolver.asked == ["rebinds.test"]
    assert not receiver.received


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    Resolver(monkeypatch, here=[["127.0.0.2"], ["192.0.2.1"]])

    def check(address: str) -> None:
        checked.append(address)

    monkeypatch.setattr(posting, "why_refused", check)
    with receiving(Receiver(), host="127.0.0.2") as receiver:
        answer = post(f"http://here.test:{receiver.port}/hook", allow_private=False)
    assert checked == [answer.address] == ["127.0.0.2"]
    assert receiver.received[0].headers["Host"] == f"here.test:{receiver.port}"


def test_this_very_machine_is_refused_under_its_public_address_too(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall before it lets nobody in to what its own programs reach."""
    monkeypatch.setattr(posting, "why_refused", lambda address: None)
    with pytest.raises(Forbidden, match="very machine"):
        post(f"http://127.0.0.1:{receiver.port}/", allow_private=False)
    assert not receiver.received
    assert post(f"http://127.0.0.1:{receiver.port}/", allow_private=True).status == 200


def test_the_next_address_is_tried_when_one_is_dead(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver(monkeypatch, two=[["127.0.0.2", "127.0.0.1"]])
    assert post(f"http://two.test:{receiver.port}/hook").address == "127.0.0.1"


def test_a_name_that_leads_nowhere_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*args: Any, **options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    with pytest.raises(DeliveryFailed, match=r"the address of nowhere\.test cannot be found"):
        post("http://nowhere.test/")


def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert post(receiver.url).status == 200


# --- TLS ---


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def _trusted(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Their authority is one of the system's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    posting._context.cache_clear()
    yield
    posting._context.cache_clear()


@pytest.mark.usefixtures("_trusted")
def test_over_tls_the_name_is_checked_and_the_address_is_pinned(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    Resolver(monkeypatch, other=[["127.0.0.1"]])
    with receiving(Receiver(), tls=certificates.server_context()) as receiver:
        assert post(receiver.url).status == 200
        assert post(f"https://localhost:{receiver.port}/").status == 200
        with pytest.raises(DeliveryFailed, match=r"no TLS with it: .*other\.test"):
            post(f"https://other.test:{receiver.port}/")
    assert len(receiver.received) == 2


def test_a_certificate_of_an_unknown_authority_is_refused(certificates: Certificates) -> None:
    with (
        receiving(Receiver(), tls=certificates.server_context()) as receiver,
        pytest.raises(DeliveryFailed, match="no TLS with it"),
    ):
        post(receiver.url)
    assert not receiver.received


@pytest.mark.usefixtures("_trusted")
def test_a_handshake_that_does_not_come_in_time_is_not_waited_for() -> None:
    began = time.monotonic()
    with speaking([b"\x16\x03\x03"]) as url, pytest.raises(DeliveryFailed, match="did not answer within"):
        post(url.replace("http:", "https:"), timeout=0.5)
    assert time.monotonic() - began < 5


def test_what_speaks_no_tls_is_an_error(receiver: Receiver) -> None:
    with pytest.raises(DeliveryFailed):
        post(receiver.url.replace("http:", "https:"), timeout=2)
