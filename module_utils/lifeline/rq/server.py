# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The primary that holds the queues: finding it, making sure of it, finding it again after a failover."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Optional, TypeVar, Union
from urllib.parse import urlsplit

from ..common.client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason, require_library
from ..common.url import parse_url
from ..errors import LifelineError
from .lua import digest

Address = Union[str, dict[str, Any]]
Answer = TypeVar("Answer")

# Words of client.reason that pass by themselves: an election, a start, a dropped connection.
_PASSING = ("refused", "timeout", "unreachable", "loading", "readonly", "masterdown", "busy")

# A script may be flushed again between its loading and its call.
_LOADED_AT_MOST = 3

# Bytes of one answer: a page of jobs comes with the errors that ended them.
PAGE_BYTES = 64 << 20


@dataclass(frozen=True)
class Target:
    """Where the queues are: one server, or the list of nodes or sentinels to ask for the primary."""

    credentials: Credentials
    endpoint: Optional[Endpoint] = None
    nodes: tuple[Endpoint, ...] = ()
    sentinels: tuple[Endpoint, ...] = ()
    service: str = ""
    sentinel_credentials: Optional[Credentials] = None
    database: int = 0
    ready_seconds: float = 30.0

    def __str__(self) -> str:
        if self.endpoint:
            return str(self.endpoint)
        return ", ".join(map(str, self.sentinels or self.nodes))


def target(params: dict[str, Any]) -> Target:
    """From the options of ``options.connection``; LifelineError when they contradict each other."""
    credentials = Credentials.from_params(params)
    sentinels = tuple(address(entry, 26379, "sentinels") for entry in params.get("sentinels") or ())
    nodes = tuple(address(entry, 6379, "nodes") for entry in params.get("nodes") or ())
    if sentinels and not params.get("sentinel_service"):
        raise LifelineError("sentinel_service is missing: give the name that the sentinels monitor the primary under.")
    common = {"database": params.get("login_db") or 0, "ready_seconds": params["ready_timeout"]}
    if params.get("url"):
        endpoint, credentials, database = parse_url(params["url"], credentials, common.pop("database"))
        return Target(credentials, endpoint=endpoint, database=database, **common)
    if sentinels or nodes:
        return Target(
            credentials,
            nodes=nodes,
            sentinels=sentinels,
            service=params.get("sentinel_service") or "",
            sentinel_credentials=sentinel_credentials(params, credentials),
            **common,
        )
    return Target(credentials, endpoint=Endpoint.from_params(params), **common)


def sentinel_credentials(params: dict[str, Any], credentials: Credentials) -> Credentials:
    """How to log in at the sentinels: as at the primary, unless told otherwise."""
    changes: dict[str, Any] = {}
    if params.get("sentinel_user") is not None:
        changes["user"] = params["sentinel_user"] or None
    if params.get("sentinel_password") is not None:
        changes["password"] = params["sentinel_password"] or None
        changes.setdefault("user", None)
    if params.get("sentinel_tls") is not None:
        changes["tls"] = params["sentinel_tls"]
    return replace(credentials, **changes)


def address(entry: Address, port: int, option: str) -> Endpoint:
    """One of ``host``, ``host:port``, ``[v6]:port`` or ``{host, port, name}``."""
    try:
        if isinstance(entry, dict):
            return Endpoint(str(entry["host"]), int(entry.get("port") or port), str(entry.get("name") or ""))
        parts = urlsplit(f"//{entry}")
        if parts.hostname and not parts.path:
            return Endpoint(parts.hostname, parts.port or port)
    except (KeyError, ValueError, TypeError):
        pass
    raise LifelineError(f"{option}: {entry!r} is no address; write host:port, or a dictionary with host and port.")


class Server:
    """A connection to the primary. Commands are never sent twice by themselves; ``again`` is for callers that may."""

    def __init__(self, where: Target) -> None:
        require_library()
        self.target = where
        self.endpoint = where.endpoint or Endpoint("")
        self.client: Any = None
        self.read_only_scripts = True
        self.connect()

    def connect(self) -> None:
        """Find the primary and make sure that it is one; LifelineError after ``ready_seconds``."""
        self._within(self._find)

    def again(self, ask: Callable[[], Answer]) -> Answer:
        """``ask()``, and once more on the new primary after each lost connection, within ``ready_seconds``.

        Only for what may be done twice: reads, and batches that carry a token.
        """
        try:
            return ask()
        except CONNECTION_ERRORS as error:
            if not passing(error):
                raise self.error(error) from error

        def find_and_ask() -> Answer:
            self._find()
            return ask()

        return self._within(find_and_ask)

    def run(self, script: str, keys: Sequence[bytes], arguments: Sequence[Any], read_only: bool = False) -> bytes:
        """One call of a script, loading it where the server does not have it (any more)."""
        for _ in range(_LOADED_AT_MOST):
            try:
                return self._call(script, keys, arguments, read_only)
            except CONNECTION_ERRORS as error:
                if "noscript" not in type(error).__name__.lower() and "noscript" not in str(error).lower():
                    raise
            self.client.execute_command("SCRIPT LOAD", script)
        return self._call(script, keys, arguments, read_only)

    def _call(self, script: str, keys: Sequence[bytes], arguments: Sequence[Any], read_only: bool) -> bytes:
        command = "EVALSHA_RO" if read_only and self.read_only_scripts else "EVALSHA"
        try:
            return self._bytes(self.client.execute_command(command, digest(script), len(keys), *keys, *arguments))
        except CONNECTION_ERRORS as error:
            words = str(error).lower()
            if command == "EVALSHA" or not ("unknown command" in words or "evalsha_ro" in words):
                raise
        self.read_only_scripts = False  # before Redis 7, or a user who may only say EVALSHA
        return self._call(script, keys, arguments, read_only)

    def seconds(self) -> float:
        """The server's clock, in Unix time."""
        whole, micro = self.client.time()
        return int(whole) + int(micro) / 1e6

    def information(self) -> dict[str, Any]:
        """INFO, parsed."""
        found: dict[str, Any] = self.client.info()
        return found

    def script_time(self) -> tuple[int, int]:
        """How many scripts the server has run (EVALSHA), and the microseconds that nobody else was served meanwhile.

        The server's own count: a round trip would also measure the wire and how busy this program's machine is.
        """
        found = self.client.info("commandstats").get("cmdstat_evalsha", {})
        return int(found.get("calls", 0)), int(found.get("usec", 0))

    def wait_replicas(self, count: int, milliseconds: int) -> int:
        """How many replicas have all that was written on this connection (WAIT)."""
        return int(self.client.execute_command("WAIT", count, milliseconds))

    def error(self, problem: BaseException, **partial: Any) -> LifelineError:
        """A failed command as one sentence."""
        why = reason(problem)
        if "used memory > 'maxmemory'" in why:  # from inside a script it comes without its code
            why = why.replace("error:", "oom:", 1)
        elif "can't run this command" in why:
            why = why.replace("error:", "noperm:", 1)
        return LifelineError(f"Redis at {self.endpoint} refused or broke off: {why}. {_advice(why)}", **partial)

    @staticmethod
    def _bytes(reply: Any) -> bytes:
        return reply if isinstance(reply, bytes) else str(reply).encode("latin-1")

    def _within(self, ask: Callable[[], Answer]) -> Answer:
        deadline = time.monotonic() + self.target.ready_seconds
        pause = 0.05
        while True:
            try:
                return ask()
            except CONNECTION_ERRORS as error:
                if not passing(error) or time.monotonic() + pause > deadline:
                    raise self.error(error) from error
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def _find(self) -> None:
        where = self.target
        if self.client is not None:
            self.client.close()
        problem: Optional[BaseException] = None
        for endpoint in self._candidates():
            try:
                self._open(endpoint)
            except CONNECTION_ERRORS as error:
                problem = error
                continue
            role = self.client.execute_command("ROLE")
            name = role[0].decode() if isinstance(role[0], bytes) else str(role[0])
            if name == "master":
                return
            if where.endpoint:
                raise LifelineError(
                    f"{endpoint} is a replica of {_host(role[1])}:{role[2]}: nothing was changed; point the connection "
                    "at the primary, or give nodes or sentinels so that it is found."
                )
        if problem is None:
            raise ConnectionRefusedError(f"no primary among {where}: connection refused by the roles they report")
        raise problem

    def _open(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.client = connect(
            endpoint, self.target.credentials, PAGE_BYTES, decode_responses=False, db=self.target.database
        )
        self.client.ping()

    def _candidates(self) -> Sequence[Endpoint]:
        where = self.target
        if where.endpoint:
            return (where.endpoint,)
        if where.sentinels:
            return self._named_by_sentinels() or where.nodes
        primaries = [node for node in where.nodes if self._role(node) == "master"]
        if len(primaries) > 1:
            raise LifelineError(
                f"{' and '.join(map(str, primaries))} both say that they are the primary: jobs would go to one side of "
                "a split; resolve it first (diagnose.yml shows both sides)."
            )
        return primaries or where.nodes

    def _role(self, node: Endpoint) -> str:
        try:
            with closing(connect(node, self.target.credentials)) as client:
                return str(client.execute_command("ROLE")[0])
        except CONNECTION_ERRORS:
            return ""

    def _named_by_sentinels(self) -> tuple[Endpoint, ...]:
        votes: dict[Endpoint, int] = {}
        problem: Optional[BaseException] = None
        answered = 0
        for sentinel in self.target.sentinels:
            try:
                with closing(connect(sentinel, self.target.sentinel_credentials or self.target.credentials)) as client:
                    reply = client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", self.target.service)
            except CONNECTION_ERRORS as error:
                problem = error
                continue
            answered += 1
            if reply:
                named = Endpoint(_host(reply[0]), int(reply[1]))
                votes[named] = votes.get(named, 0) + 1
        if answered and not votes:
            raise LifelineError(
                f"No sentinel of {self.target} knows {self.target.service!r}: give the name that they monitor the "
                "primary under as sentinel_service."
            )
        if not votes and problem is not None and not self.target.nodes:
            raise problem
        return tuple(sorted(votes, key=lambda named: -votes[named]))


def passing(error: BaseException) -> bool:
    """Whether waiting may help: the server starts, an election runs, a connection was cut."""
    if isinstance(error, OSError) or "Connection" in type(error).__name__ or "Timeout" in type(error).__name__:
        return reason(error).partition(":")[0] not in ("auth", "tls", "noperm")
    return reason(error).partition(":")[0] in _PASSING


def _host(raw: Any) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)


def _advice(why: str) -> str:
    return _ADVICE.get(why.partition(":")[0], "Look at the server and its log, then run this again.")


_ADVICE = {
    "auth": "Check login_user and login_password.",
    "noperm": "Grant the rights that docs/rq.md lists, then run this again.",
    "oom": "The server is out of memory: free some or raise maxmemory, then run this again.",
    "noreplicas": "Too few replicas are connected for min-replicas-to-write: bring them back, then run this again.",
    "misconf": "The server cannot save to disk: repair that first, then run this again.",
    "tls": "Check tls, ca_certs and the server's certificate.",
}
