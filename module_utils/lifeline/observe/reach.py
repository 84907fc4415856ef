# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether addresses take TCP connections, how fast, and whether packets get lost on the way: no server is asked."""

from __future__ import annotations

import errno
import ipaddress
import resource
import select
import socket
import statistics
import time
from typing import Any, Callable, Mapping, Optional, Sequence

from .parallel import each

Address = tuple[str, int]

# Connections to each host from which a loss shows. The kernel repeats a lost packet after one second, so whatever
# takes longer than this had one lost; the peer's kernel answers, however busy its server is.
TRIES = 6
REPEATED_S = 0.6

# Files that stay free for whatever else this process opens.
_SPARE_FILES = 64
_WANTED_FILES = 4096
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
    results = connect_all([address for _name, address in tries], REPEATED_S)
    times: dict[str, list[float]] = {}
    for (name, _address), (took, error) in zip(tries, results):
        found[name]["tries"] += 1
        if took is not None:
            found[name]["answered"] += 1
            found[name]["refused"] += error == "refused"
            times.setdefault(name, []).append(took)
        elif error != "timeout":
            found[name]["error"] = error
    for name, taken in times.items():
        found[name]["best_ms"] = round(min(taken) * 1000, 2)
        found[name]["median_ms"] = round(statistics.median(taken) * 1000, 2)
    return found


def connect_all(addresses: Sequence[Address], seconds: float) -> list[tuple[Optional[float], str]]:
    """(seconds that it took, error) of a connection to each address, all at once and closed at once.

    A refusal is an answer, so it has a time and an error. What is not there within ``seconds`` has ``timeout``.
    """
    batch = files()
    results: list[tuple[Optional[float], str]] = []
    for at in range(0, len(addresses), batch):
        results += _connect(addresses[at : at + batch], seconds)
    return results


def files() -> int:
    """How many sockets may be open at once; raises the soft limit where that is needed and possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(1, (_WANTED_FILES if soft == resource.RLIM_INFINITY else min(soft, _WANTED_FILES)) - _SPARE_FILES)


def _connect(addresses: Sequence[Address], seconds: float) -> list[tuple[Optional[float], str]]:
    results: list[tuple[Optional[float], str]] = [(None, "timeout")] * len(addresses)
    poll = select.poll()
    waiting: dict[int, tuple[int, socket.socket, float]] = {}
    deadline = time.monotonic() + seconds
    for index, (host, port) in enumerate(addresses):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            peer = socket.socket(family, socket.SOCK_STREAM)
            peer.setblocking(False)
            status = peer.connect_ex((host, port))
        except OSError as error:
            results[index] = (None, error.strerror or str(error))
            continue
        if status not in (0, errno.EINPROGRESS):
            results[index] = (None, _word(status))
            peer.close()
            continue
        waiting[peer.fileno()] = (index, peer, time.monotonic())
        poll.register(peer, select.POLLOUT)
    while waiting and time.monotonic() < deadline:
        for number, _event in poll.poll(max(1.0, (deadline - time.monotonic()) * 1000)):
            index, peer, began = waiting.pop(number)
            poll.unregister(number)
            status = peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            took = time.monotonic() - began if status in (0, errno.ECONNREFUSED) else None
            results[index] = (took, _word(status))
            peer.close()
    for _index, peer, _began in waiting.values():
        peer.close()
    return results


def _word(status: int) -> str:
    known = {0: "", errno.ECONNREFUSED: "refused", errno.EHOSTUNREACH: "unreachable", errno.ENETUNREACH: "unreachable"}
    return known.get(status, "timeout" if status == errno.ETIMEDOUT else errno.errorcode.get(status, str(status)))


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
