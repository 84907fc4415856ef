# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether addresses take TCP connections, how fast, and whether packets get lost on the way: no server is asked."""

from __future__ import annotations

import ipaddress
import socket
import statistics
from typing import Any, Callable, Mapping, Sequence

from .parallel import each
from .talk import Address, Question, ask_all

# Connections to each host from which a loss shows. The kernel repeats a lost packet after one second, so whatever
# takes longer than this had one lost; the peer's kernel answers, however busy its server is.
TRIES = 6
REPEATED_S = 0.6

_RESOLVERS = 32


def paths(peers: Mapping[str, Address]) -> dict[str, Any]:
    """``{peer: {tries, answered, refused, best_ms, median_ms, error}}`` of ``TRIES`` connections to each address.

    ``answered`` are those that were taken or refused within ``REPEATED_S``, ``refused`` the latter of them: others had
    a packet lost, or nobody lets them through. Names are resolved first; of one that is not, ``error`` says why.
    """
    known = resolve([host for host, _port in peers.values()], REPEATED_S * 2)
    tries: list[tuple[str, Address]] = []
    found: dict[str, Any] = {}
    for name, (host, port) in peers.items():
        addresses = known[host]["addresses"]
        found[name] = {"tries": 0, "answered": 0, "refused": 0, "best_ms": None, "error": known[host]["error"]}
        if addresses:
            tries += [(name, (addresses[0], port))] * TRIES
    attempts = [Question(address, ()) for _name, address in tries]
    ask_all(attempts, REPEATED_S, 0.0)
    times: dict[str, list[float]] = {}
    for (name, _address), attempt in zip(tries, attempts):
        word = attempt.error.partition(":")[0]
        found[name]["tries"] += 1
        found[name]["answered"] += word in ("", "refused")
        found[name]["refused"] += word == "refused"
        if not word and attempt.connect_s is not None:
            times.setdefault(name, []).append(attempt.connect_s)
        elif word not in ("refused", "timeout"):
            found[name]["error"] = attempt.error
    for name, taken in times.items():
        found[name]["best_ms"] = round(min(taken) * 1000, 2)
        found[name]["median_ms"] = round(statistics.median(taken) * 1000, 2)
    return found


def resolve(
    hosts: Sequence[str], seconds: float, ask: Callable[..., Any] = socket.getaddrinfo
) -> dict[str, dict[str, Any]]:
    """By host ``{addresses, error}``; an address is its own answer, a name has ``seconds`` to get one."""
    found: dict[str, dict[str, Any]] = {host: {"addresses": [host], "error": ""} for host in hosts if is_address(host)}
    names = sorted({host for host in hosts if host not in found})
    found.update({name: {"addresses": [], "error": f"no answer within {seconds:.1f} s"} for name in names})
    for name, rows, error in each(names, lambda name: ask(name, None, type=socket.SOCK_STREAM), seconds, _RESOLVERS):
        if error is None:
            found[name] = {"addresses": sorted({str(row[4][0]) for row in rows}), "error": ""}
        else:
            found[name]["error"] = str(getattr(error, "strerror", None) or error)[:200]
    return found


def is_address(host: str) -> bool:
    """Whether it is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
