# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many endpoints looked at side by side: whether each is there, what it is, and how fast it answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Mapping, Optional, Sequence

from ..common.client import Credentials, Endpoint, reason, tls_context
from ..common.url import parse_url
from ..errors import LifelineError
from .estate import parse_info
from .reach import resolve
from .talk import Question, RefusedError, ask_all, info

# Where they stand in INFO; the whole of it may be as long as clients like (see info.py).
SECTIONS = ("server", "memory", "persistence", "replication", "keyspace")
KEPT = ("role", "version", "flavour", "loading", "keys", "used_memory", "maxmemory", "uptime_s")


@dataclass(frozen=True)
class Target:
    """One endpoint and how to log in there."""

    endpoint: Endpoint
    credentials: Credentials
    error: str = ""

    def row(self, **found: Any) -> dict[str, Any]:
        """What is known of it; never its login."""
        peer = self.endpoint
        base = {"name": peer.name, "host": peer.host, "port": peer.port, "reachable": False, "error": self.error}
        return {**base, "connect_ms": None, "latency_ms": None, **found}


def targets(entries: Sequence[Mapping[str, Any]], credentials: Credentials) -> list[Target]:
    """From ``[{name, host, port, url}]``; a url brings its own login, otherwise it is ``credentials``."""
    found = []
    for entry in entries:
        name = entry.get("name") or ""
        if not entry.get("url"):
            host = str(entry.get("host") or "")
            endpoint = Endpoint(host, entry.get("port") or 6379, name or host)
            error = "" if host else "error: neither host nor url is given"
            found.append(Target(endpoint, credentials, error))
            continue
        try:
            endpoint, login, _database = parse_url(entry["url"])
        except LifelineError as problem:
            found.append(Target(Endpoint("", 0, name or "?"), credentials, f"error: {problem}"))
            continue
        error = "error: a Unix socket is no endpoint" if endpoint.unix_socket else ""
        login = login.with_timeouts(credentials.connect_timeout, credentials.command_timeout)
        found.append(Target(replace(endpoint, name=name or endpoint.host), login, error))
    return found


def look(wanted: Sequence[Target]) -> list[dict[str, Any]]:
    """``[{name, host, port, reachable, error, connect_ms, latency_ms, role, version, ...}]``, in the order given.

    ``error`` begins with one of the words of ``client.reason``. ``latency_ms`` is what INFO took; among a thousand
    others it counts this machine's own work too. All are asked at once, so those that hang cost one timeout together.
    """
    rows: list[dict[str, Any]] = [target.row() for target in wanted]
    connect = max((target.credentials.connect_timeout for target in wanted), default=0.0)
    command = max((target.credentials.command_timeout for target in wanted), default=0.0)
    known = resolve([target.endpoint.host for target in wanted if not target.error], connect)
    questions: dict[int, Question] = {}
    for index, target in enumerate(wanted):
        peer, login = target.endpoint, target.credentials
        if target.error:
            continue
        if not known[peer.host]["addresses"]:
            rows[index]["error"] = f"dns: {known[peer.host]['error']}"
            continue
        try:
            secured = tls_context(login) if login.tls else None
        except OSError as error:
            rows[index]["error"] = f"tls: {login.ca_certs or login.cert_file}: {error.strerror or error}"
            continue
        address = (known[peer.host]["addresses"][0], peer.port)
        questions[index] = Question(address, _commands(target), secured, peer.host)
    ask_all(list(questions.values()), connect, command)
    for index, question in questions.items():
        rows[index].update(_answer(question))
    return rows


def _commands(target: Target) -> list[list[str]]:
    login = target.credentials
    who = [["AUTH", *([login.user] if login.user else []), login.password]] if login.password else []
    return [*who, *(["INFO", section] for section in SECTIONS)]


def _answer(question: Question) -> dict[str, Any]:
    found = {"error": question.error, "connect_ms": _ms(question.connect_s), "latency_ms": _ms(question.answer_s)}
    refused = [reply for reply in question.replies if isinstance(reply, RefusedError)]
    if question.error or refused:
        return {**found, "error": question.error or reason(refused[0])}
    view = parse_info(info("\n".join(map(str, question.replies[-len(SECTIONS) :]))))
    view["role"] = {"master": "primary", "slave": "replica"}.get(view["role"], view["role"])
    return {**found, "reachable": True, **{name: view[name] for name in KEPT}}


def _ms(seconds: Optional[float]) -> Optional[float]:
    return None if seconds is None else round(seconds * 1000, 2)
