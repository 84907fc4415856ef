# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a lab keeps on the control node: keys, certificates, passwords and the inventory.

Everything lies in the directory of the inventory; what is no inventory is in its ``.lab``, which Ansible does not read.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import shutil
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any, Mapping

from ..common import atomic
from ..errors import LifelineError
from .machine import run

PASSWORDS = ("application", "replica", "sentinel", "observer", "operator")
DAYS = 3650
_OPS = 1000  # the first user of the image


class Directory:
    """A lab's directory. Its files belong to whoever owns the place that it is made in: sudo leaves none to root."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.private = self.path / ".lab"
        self.key = self.private / "id_ed25519"
        self.known_hosts = self.private / "known_hosts"
        self.ca = self.private / "ca.crt"
        self.inventory = self.path / "hosts.json"
        self._state = self.private / "state.json"
        self._owner = owner(self.path)

    def certificate(self, host: str) -> Path:
        return self.private / f"{host}.crt"

    def certificate_key(self, host: str) -> Path:
        return self.private / f"{host}.key"

    def state(self) -> dict[str, Any]:
        """``{run, addresses: {host: address}, passwords: {who: password}}``; empty when there is no usable lab here."""
        try:
            state: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return state if self.key.exists() and self.ca.exists() else {}

    def save_state(self, state: Mapping[str, Any]) -> None:
        self.write(self._state, json.dumps(state, indent=2) + "\n", 0o600)

    def write(self, path: Path, text: str, mode: int) -> bool:
        """Write a file as a whole if its text or mode differs; returns whether it did."""
        with contextlib.suppress(OSError):
            if path.read_text(encoding="utf-8") == text and path.stat().st_mode & 0o777 == mode:
                return False
        make_directory(path.parent, self._owner, 0o700 if path.parent == self.private else 0o755)
        atomic.write(path, text, mode, self._owner)
        return True

    def remove(self) -> bool:
        """Remove what a lab wrote; the directory itself too if it is empty then."""
        found = self.private.exists() or self.inventory.exists()
        shutil.rmtree(self.private, ignore_errors=True)
        self.inventory.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()
        return found


def owner(path: Path) -> tuple[int, int]:
    """(user, group) that a path belongs to, or the nearest directory above it that exists."""
    nearest = next(parent for parent in (path, *path.parents) if parent.exists())
    status = nearest.stat()
    return status.st_uid, status.st_gid


def make_directory(path: Path, belongs: tuple[int, int], mode: int = 0o755) -> None:
    """Make a directory and those above it; ``mode`` is that of the last."""
    for missing in reversed([parent for parent in (path, *path.parents) if not parent.exists()]):
        missing.mkdir(mode=mode if missing == path else 0o755)
        os.chown(missing, *belongs)


def new_state() -> dict[str, Any]:
    """The state of a lab that has no hosts yet, with fresh passwords."""
    return {
        "run": secrets.token_hex(4),
        "addresses": {},
        "passwords": {who: secrets.token_urlsafe(24) for who in PASSWORDS},
    }


def make_lab_keys(directory: Directory, lab: str) -> None:
    """A fresh SSH key for the lab's user and a fresh certificate authority."""
    with tempfile.TemporaryDirectory() as work:
        key, public = ssh_key(Path(work) / "id", f"ops@lifeline-{lab}")
        directory.write(directory.key, key, 0o600)
        directory.write(directory.key.with_suffix(".pub"), public, 0o644)
        config = _config(
            Path(work),
            f"Lifeline lab {lab} CA",
            [
                "basicConstraints = critical,CA:TRUE",
                "keyUsage = critical,keyCertSign,cRLSign",
                "subjectKeyIdentifier = hash",
            ],
        )
        certificate, private = _certificate(Path(work), config, [])
        directory.write(directory.ca, certificate, 0o644)
        directory.write(directory.private / "ca.key", private, 0o600)


def make_certificate(directory: Directory, host: str, address: str) -> None:
    """A server certificate for one host, signed by the lab's CA. It serves as client certificate too."""
    names = f"DNS:{host},DNS:localhost,IP:{address},IP:127.0.0.1,IP:::1"
    with tempfile.TemporaryDirectory() as work:
        config = _config(
            Path(work),
            host,
            [
                "basicConstraints = critical,CA:FALSE",
                "keyUsage = critical,digitalSignature",
                "extendedKeyUsage = serverAuth,clientAuth",
                "subjectKeyIdentifier = hash",
                "authorityKeyIdentifier = keyid",
                f"subjectAltName = {names}",
            ],
        )
        signer = ["-CA", str(directory.ca), "-CAkey", str(directory.private / "ca.key")]
        certificate, private = _certificate(Path(work), config, signer)
    directory.write(directory.certificate(host), certificate, 0o644)
    directory.write(directory.certificate_key(host), private, 0o600)


def ssh_key(path: Path, comment: str) -> tuple[str, str]:
    """A new ed25519 key pair, made at ``path``: (private, public)."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    run(argv, "make an SSH key")
    return path.read_text(encoding="ascii"), path.with_suffix(".pub").read_text(encoding="ascii")


def seed(authorized: str, host_key: str, host_public: str) -> bytes:
    """A tar archive of what makes a host this lab's: its SSH host key and who may log in.

    The stamp tells APT modules that the image's package lists are fresh; the archives in its cache fit those lists.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, text, mode, owner in (
            ("etc/ssh/ssh_host_ed25519_key", host_key, 0o600, 0),
            ("etc/ssh/ssh_host_ed25519_key.pub", host_public, 0o644, 0),
            ("home/ops/.ssh/authorized_keys", authorized, 0o600, _OPS),
            ("var/lib/apt/periodic/update-success-stamp", "", 0o644, 0),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid = len(text), mode, owner, owner
            entry.mtime = int(time.time())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return stream.getvalue()


def _config(work: Path, subject: str, extensions: list[str]) -> Path:
    """A configuration of openssl of our own: the system's would add extensions to it."""
    path = work / "openssl.cnf"
    lines = [
        "[req]",
        "distinguished_name = name",
        "x509_extensions = extensions",
        "prompt = no",
        "[name]",
        f"CN = {subject}",
    ]
    path.write_text("\n".join([*lines, "[extensions]", *extensions]) + "\n", encoding="ascii")
    return path


def _certificate(work: Path, config: Path, signer: list[str]) -> tuple[str, str]:
    """(certificate, private key), both PEM, self-signed without a signer."""
    key, certificate = work / "new.key", work / "new.crt"
    argv = ["openssl", "req", "-x509", "-config", str(config), "-days", str(DAYS), "-sha256", "-nodes", *signer]
    argv += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", str(key), "-out", str(certificate)]
    run(argv, "make a certificate")
    if not certificate.stat().st_size:
        raise LifelineError("Cannot make a certificate: openssl wrote none; OpenSSL 3.0 or later is needed.")
    return certificate.read_text(encoding="ascii"), key.read_text(encoding="ascii")
