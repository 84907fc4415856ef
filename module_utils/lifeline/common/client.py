# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connections to Redis, Valkey and Sentinel: bounded in time, never retried behind our back.

redis-py 6 and later resend a command whose reply was lost, which can run a write twice; every client made here has
its retries switched off (measured on redis-py 4.3.4 to 8.1.0: a refused port then answers in 1.5 ms, not 3.6 s).
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Optional

from ..errors import LifelineError
from .bounded import REPLY_BYTES, Client, TcpConnection, TlsBase, UnixConnection
from .facts import clean_text
from .words import address

try:
    from redis.backoff import NoBackoff
    from redis.connection import Connection
    from redis.exceptions import RedisError, ResponseError
    from redis.retry import Retry

    HAS_REDIS = True
except ImportError:
    HAS_REDIS = False

    class RedisError(Exception):  # type: ignore[no-redef]
        """Stands in for redis-py's, so that ``except`` clauses stay valid without the library."""

    class ResponseError(RedisError):  # type: ignore[no-redef]
        """The same, for an answer that is an error."""


CONNECTION_ERRORS = (RedisError, OSError)


@dataclass(frozen=True)
class Credentials:
    """How to log in. Timeouts in seconds. ``repr`` shows no secret."""

    user: Optional[str] = None
    password: Optional[str] = None
    tls: bool = False
    validate_certs: bool = True
    check_hostname: bool = True
    ca_certs: Optional[str] = None
    cert_file: Optional[str] = None
    key_file: Optional[str] = None
    connect_timeout: float = 2.0
    command_timeout: float = 5.0

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, tls={self.tls})"

    @classmethod
    def from_params(cls, params: dict[str, Any]) -> Credentials:
        """From the options of ``spec.credentials_spec``."""
        return cls(
            user=params.get("login_user"),
            password=params.get("login_password"),
            tls=params.get("tls", False),
            validate_certs=params.get("validate_certs", True),
            check_hostname=params.get("check_hostname", True),
            ca_certs=params.get("ca_certs"),
            cert_file=params.get("client_cert_file"),
            key_file=params.get("client_key_file"),
            connect_timeout=params.get("connect_timeout", 2.0),
            command_timeout=params.get("command_timeout", 5.0),
        )

    def with_timeouts(self, connect: float, command: float) -> Credentials:
        """The same login with other limits, in seconds."""
        return replace(self, connect_timeout=connect, command_timeout=command)


@dataclass(frozen=True)
class Endpoint:
    """One server: its inventory name, address and port, or the path of its Unix socket."""

    host: str
    port: int = 6379
    name: str = ""
    unix_socket: Optional[str] = None

    def __str__(self) -> str:
        if self.unix_socket:
            return self.unix_socket
        return address(self.host, self.port)

    @classmethod
    def from_params(cls, params: dict[str, Any]) -> Endpoint:
        """From the options of ``spec.connection_spec``. Raises LifelineError when they name no server.

        A default would be the machine that the module happens to run on, whose Redis may be anybody's.
        """
        socket, host = params.get("login_unix_socket"), params.get("login_host")
        if socket == "" or not (socket or host):
            raise LifelineError(
                "No server is named: give login_host or login_unix_socket. Nothing was asked or changed, since a Redis "
                "on the machine that this runs on may be another one."
            )
        return cls(host=host or "", port=params["login_port"], unix_socket=socket)


class TlsConnection(TlsBase):
    """A connection whose TLS is ours.

    redis-py reads all public CAs of the system anew for each connection, which takes 20 ms, and trusts them beside the
    CA that it was told: where names are not checked, whoever has a certificate for any name would be let in. The
    certificate is checked before the login is sent.
    """

    def __init__(self, login: Optional[Credentials] = None, **options: Any) -> None:
        super().__init__(**options)
        self._login = login or Credentials()

    def _connect(self) -> Any:
        plain = Connection._connect(self)  # type: ignore[no-untyped-call]
        try:
            return self.bounded(tls_context(self._login).wrap_socket(plain, server_hostname=self.host))
        except (OSError, ValueError):
            plain.close()
            raise


def tls_context(login: Credentials) -> ssl.SSLContext:
    """What a login's TLS needs: made once, until one of its files changes. Raises OSError for one that is missing."""
    files = (login.ca_certs, login.cert_file, login.key_file)
    changed = tuple(os.stat(path).st_mtime_ns for path in files if path)
    return _tls_context(login.validate_certs, login.validate_certs and login.check_hostname, files, changed)


@lru_cache(maxsize=64)
def _tls_context(
    validate: bool, check_hostname: bool, files: tuple[Optional[str], ...], _changed: tuple[int, ...]
) -> ssl.SSLContext:
    ca, certificate, key = files
    made = ssl.create_default_context(cafile=ca)
    made.check_hostname = check_hostname
    made.verify_mode = ssl.CERT_REQUIRED if validate else ssl.CERT_NONE
    if certificate:
        made.load_cert_chain(certificate, key)
    return made


def connect(endpoint: Endpoint, credentials: Credentials, reply_bytes: int = REPLY_BYTES, **extra: Any) -> Any:
    """A ``redis.Redis`` for one endpoint. Nothing is sent before the first command.

    An answer that goes on for longer than two of the login's timeouts, or has more than ``reply_bytes``, is an error.
    ``extra`` goes to ``redis.Redis``. Replies are text unless ``decode_responses=False`` is given.
    Raises LifelineError when redis-py is missing, or when the endpoint is none: an empty host would be this machine.
    """
    require_library()
    if not (endpoint.unix_socket or endpoint.host):
        raise LifelineError(f"{endpoint.name or 'The server'} has no address: set redis_address, or a valid redis_url.")
    options: dict[str, Any] = {
        "username": credentials.user,
        "password": credentials.password,
        "socket_connect_timeout": credentials.connect_timeout,
        "socket_timeout": credentials.command_timeout,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
        "encoding_errors": "replace",
        **extra,
    }
    if endpoint.unix_socket:
        client = Client(unix_socket_path=endpoint.unix_socket, **options)
    else:
        client = Client(host=endpoint.host, port=endpoint.port, ssl=credentials.tls, **options)
    pool = client.connection_pool
    pool.connection_kwargs["reply_bytes"] = reply_bytes
    pool.connection_class = UnixConnection if endpoint.unix_socket else TcpConnection
    if credentials.tls and not endpoint.unix_socket:
        pool.connection_class = TlsConnection
        pool.connection_kwargs["login"] = credentials
    return client


def require_library() -> None:
    """Raise LifelineError when this Python has no redis-py."""
    if not HAS_REDIS:
        raise LifelineError(
            "The Python library redis is missing on this host: install the package python3-redis, "
            "or point ansible_python_interpreter at a Python that has it."
        )


def answered(error: BaseException) -> bool:
    """Whether the error is the server's own answer: then the command was refused, and nothing of it was done."""
    return isinstance(error, ResponseError)


def reason(error: BaseException) -> str:
    """Why a connection or command failed, in a few words that never hold a secret.

    The first word is stable and is what the diagnosis matches on: refused, timeout, unreachable, auth, denied, tls,
    loading, maxclients, busy, misconf, readonly, masterdown, oom, noreplicas, noperm, dropped, dns, or error.
    """
    text = clean_text(str(error))
    lowered = text.lower()
    for word, needles in _REASONS:
        if any(needle in lowered for needle in needles):
            return f"{word}: {text[:200]}"
    if type(error).__name__ in ("TimeoutError", "timeout"):
        return f"timeout: {text[:200]}"
    if type(error).__name__ == "BusyLoadingError":
        return f"loading: {text[:200]}"
    return f"error: {text[:200]}"


_REASONS = (
    ("auth", ("wrongpass", "noauth", "authentication required", "invalid username-password", "invalid password")),
    ("noperm", ("noperm", "no permissions")),
    # Protected mode: the server has no password and talks to its own host only.
    ("denied", ("denied redis is running in protected mode", "denied valkey is running in protected mode")),
    ("loading", ("loading the dataset", "loading ")),
    ("maxclients", ("max number of clients",)),
    ("busy", ("busy redis is busy",)),
    ("misconf", ("misconf",)),
    ("readonly", ("read only replica", "readonly")),
    ("masterdown", ("masterdown",)),
    ("oom", ("oom command not allowed",)),
    ("noreplicas", ("noreplicas",)),
    # Over TLS a server at its maxclients just hangs up; else its refusal may be there before anything was asked, which
    # redis-py throws away as a connection that is not ready.
    ("dropped", ("(eof)", "eof occurred", "closed by server", "connection reset", "broken pipe", "not ready")),
    ("tls", ("certificate", "ssl", "tls")),
    ("refused", ("connection refused", "error 111", "error 2 connecting")),
    ("dns", ("name or service not known", "name resolution", "no address associated", "nodename nor servname")),
    ("unreachable", ("no route to host", "network is unreachable", "error 113")),
    ("timeout", ("timed out", "timeout")),
)
