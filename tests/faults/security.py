# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Injectors of the family security."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from base import LEFT, REFUSED, Expect, fault
from clients import Session
from lab import UNIT, Lab, wait_for
from ways import inside

ACL = "/etc/redis/users-main.acl"
TLS = "/etc/redis/tls"


@contextmanager
def other_password(lab: Lab, host: str, user: str) -> Iterator[None]:
    """A user whose password is another one, until the server reads its ACL file again."""
    lab.redis(host, "ACL", "SETUSER", user, "resetpass", ">another-password")
    try:
        yield
    finally:
        lab.redis(host, "ACL", "LOAD")


def certificate(lab: Lab, host: str, days: int, signed_by: str = "") -> tuple[str, str]:
    """(certificate, key) in PEM for a lab host, good for so many days from now (or until so many ago)."""
    authority = lab.inventory / "generated" / ".lab"
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        extensions = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        (work / "ext").write_text(f"{extensions}subjectAltName=IP:{lab.addresses[host]},IP:127.0.0.1\n")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        if signed_by:
            authority = work
            _openssl("req", "-x509", *curve, "-keyout", work / "ca.key", "-out", work / "ca.crt", "-days", "9",
                     "-subj", f"/CN={signed_by}")  # fmt: skip
        _openssl("req", *curve, "-keyout", work / "key", "-out", work / "csr", "-subj", f"/CN={host}")
        _openssl("x509", "-req", "-in", work / "csr", "-CA", authority / "ca.crt", "-CAkey", authority / "ca.key",
                 "-set_serial", "99", "-days", days, "-extfile", work / "ext", "-out", work / "crt")  # fmt: skip
        return (work / "crt").read_text(), (work / "key").read_text()


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def put(lab: Lab, host: str, path: str, text: str) -> None:
    """Write a file that the server may read."""
    write = ["sh", "-c", f"umask 027 && cat > {path} && chown root:redis {path} && chmod 640 {path}"]
    subprocess.run(["podman", "exec", "-i", lab.container(host), *write], input=text, text=True, check=True)


@contextmanager
def served(lab: Lab, host: str, pair: tuple[str, str], installed: bool = False) -> Iterator[None]:
    """A server that serves another pair; ``installed``: which then also lies where the server's own does."""
    session = Session(lab, host)
    put(lab, host, f"{TLS}/fault.crt", pair[0])
    put(lab, host, f"{TLS}/fault.key", pair[1])
    with kept(lab, host, f"{TLS}/server.crt"), kept(lab, host, f"{TLS}/server.key"):
        if installed:
            lab.on(host, "cp", f"{TLS}/fault.crt", f"{TLS}/server.crt")
            lab.on(host, "cp", f"{TLS}/fault.key", f"{TLS}/server.key")
        session.say(f"CONFIG SET tls-cert-file {TLS}/fault.crt tls-key-file {TLS}/fault.key")
        try:
            yield
        finally:
            lab.on(host, "cp", "-p", f"{TLS}/server.crt.kept", f"{TLS}/server.crt")
            lab.on(host, "cp", "-p", f"{TLS}/server.key.kept", f"{TLS}/server.key")
            session.say(f"CONFIG SET tls-cert-file {TLS}/server.crt tls-key-file {TLS}/server.key")
            session.close()
    lab.on(host, "rm", "-f", f"{TLS}/fault.crt", f"{TLS}/fault.key")


@contextmanager
def kept(lab: Lab, host: str, path: str) -> Iterator[None]:
    """A file that is as before in the end."""
    lab.on(host, "cp", "-p", path, f"{path}.kept")
    try:
        yield
    finally:
        lab.on(host, "mv", f"{path}.kept", path)


@fault("login_refused", "replica", quick=True, recovery=LEFT)
def observer_refused(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with other_password(lab, replica, "observer"):
        yield Expect(replica)


@fault("login_refused", "everywhere", recovery=REFUSED)
def observer_refused_everywhere(lab: Lab) -> Iterator[Expect]:
    hosts = [lab.primary(), *lab.replicas()]
    with (
        other_password(lab, hosts[0], "observer"),
        other_password(lab, hosts[1], "observer"),
        other_password(lab, hosts[2], "observer"),
    ):
        yield Expect("redis")


@fault("protected_mode", recovery=LEFT)
def default_without_password(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.redis(replica, "ACL", "SETUSER", "default", "on", "nopass", "~*", "&*", "+@all")
    yield Expect(replica)
    inside(lab, replica, "ACL", "LOAD")


@fault("application_login_refused", quick=True)
def application_refused(lab: Lab) -> Iterator[Expect]:
    with other_password(lab, lab.primary(), "application"):
        yield Expect("app1", also=("units_unwell",))


@fault("clients_refused", "password", recovery=LEFT)
def stranger_tries(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    tries = (
        "import redis\nfor _ in range(5):\n    try:\n        redis.Redis(host='127.0.0.1', username='stranger', "
        "password='guess', ssl=True, ssl_ca_certs='/etc/rq/ca.crt', ssl_check_hostname=False).ping()\n"
        "    except redis.RedisError:\n        pass\n"
    )
    lab.on("app1", "python3", "-c", tries)
    yield Expect(primary)
    lab.redis(primary, "ACL", "LOG", "RESET")


@fault("acl_file_bad", "garbage", quick=True)
def acl_garbage(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with kept(lab, replica, ACL):
        lab.on(replica, "sh", "-c", f"echo 'user broken on +@nothing' >> {ACL}")
        lab.on(replica, "systemctl", "restart", "--no-block", UNIT)
        wait_for(lambda: "failed" in lab.on(replica, "systemctl", "is-failed", UNIT, check=False), "its giving up", 60)
        yield Expect(replica)
    lab.on(replica, "systemctl", "reset-failed", UNIT)
    lab.on(replica, "systemctl", "start", UNIT)


@fault("acl_file_bad", "missing")
def acl_missing(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with kept(lab, replica, ACL):
        lab.on(replica, "rm", ACL)
        yield Expect(replica)


@fault("certificate_expired", "replica", quick=True, recovery=LEFT)
def replica_expired(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with served(lab, replica, certificate(lab, replica, -1)):
        yield Expect(replica)


@fault("certificate_expired", "primary", recovery=REFUSED)
def primary_expired(lab: Lab) -> Iterator[Expect]:
    primary = lab.primary()
    with served(lab, primary, certificate(lab, primary, -1)):
        yield Expect(primary)


@fault("certificate_expiring", recovery=LEFT)
def ends_soon(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with served(lab, replica, certificate(lab, replica, 5), installed=True):
        yield Expect(replica, also=("certificate_not_served",))  # by the sentinel, which cannot load it


@fault("certificate_not_served", quick=True)
def renewed_on_disk(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    new = certificate(lab, replica, 400)
    with kept(lab, replica, f"{TLS}/server.crt"), kept(lab, replica, f"{TLS}/server.key"):
        put(lab, replica, f"{TLS}/server.crt", new[0])
        put(lab, replica, f"{TLS}/server.key", new[1])
        yield Expect(replica)


@fault("certificate_key_mismatch")
def wrong_key(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with kept(lab, replica, f"{TLS}/server.key"):
        put(lab, replica, f"{TLS}/server.key", certificate(lab, replica, 400)[1])
        yield Expect(replica)


@fault("certificate_untrusted", recovery=LEFT)
def stranger_signed(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    with served(lab, replica, certificate(lab, replica, 400, "A stranger")):
        yield Expect(replica, also=("certificate_not_served",))
