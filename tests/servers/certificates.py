"""Certificates of the tests' own, made by openssl: an authority, a server on loopback, a client."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
EXTENSIONS = """
subjectAltName=DNS:localhost,IP:127.0.0.1
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""
AUTHORITY = "keyUsage=critical,keyCertSign,cRLSign"
"""Python 3.13 wants to see that an authority may sign, and whose key it signed with."""


class Certificates:
    """Files in a folder; `name.crt` and `name.key` for each name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run(
            *f"req -x509 -nodes {KEY} -days 2 -subj /CN=ca -addext {AUTHORITY}".split(),
            *("-keyout", self.folder / "ca.key", "-out", self.authority),
        )
        for name in ("server", "client"):
            self._signed(name)

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    def server_context(self, *, wants_client: bool = False) -> ssl.SSLContext:
        """How a server speaks TLS with them."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority)
        context.load_cert_chain(self.folder / "server.crt", self.folder / "server.key")
        context.verify_mode = ssl.CERT_REQUIRED if wants_client else ssl.CERT_NONE
        return context

    def _signed(self, name: str) -> None:
        request = self.folder / f"{name}.csr"
        (self.folder / "extensions").write_text(EXTENSIONS)
        self._run(
            *f"req -nodes {KEY}".split(),
            *("-subj", f"/CN={name}", "-keyout", self.folder / f"{name}.key", "-out", request),
        )
        self._run(
            *("x509", "-req", "-days", "2", "-in", request, "-CA", self.authority, "-CAkey", self.folder / "ca.key"),
            *("-CAcreateserial", "-extfile", self.folder / "extensions", "-out", self.folder / f"{name}.crt"),
        )

    def _run(self, *arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=self.folder)
