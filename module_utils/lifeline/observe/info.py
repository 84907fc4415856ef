# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""INFO by its sections, without what clients put into it.

Since Redis 6.2 it counts errors by their code, which is what stands before the first blank of an error: a script may
answer any, so that the default INFO grows with what clients want, and holds what they write (measured on Redis 7.0.15,
which has no limit). So that section is asked for by itself, and of it only codes that Redis has are kept.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ..common.client import CONNECTION_ERRORS
from ..common.values import number

# What topology needs, and what a closer look asks for; each is the same in all versions.
VIEW = ("server", "memory", "persistence", "stats", "replication", "cluster", "keyspace")
ALL = (*VIEW, "clients", "cpu")

# The codes of Redis 6 to 8 and Valkey 7 to 9; all others together are OTHER.
_CODES = """
ASK BADAUTH BUSY BUSYGROUP BUSYKEY CLUSTERDOWN CROSSSLOT DENIED ERR EXECABORT INPROG INVALIDOBJ IOERR LOADING MASTERDOWN
MISCONF MOVED NOAUTH NOGOODSLAVE NOGROUP NOMASTERLINK NOPERM NOPROTO NOQUORUM NOREPLICAS NOSCRIPT NOSUB NOTBUSY NOTREADY
OOM READONLY SYNTAX TRYAGAIN UNBLOCKED UNKILLABLE WRONGPASS WRONGTYPE
"""
CODES = frozenset(_CODES.split())
OTHER = "other"


def ask(pipe: Any, sections: Sequence[str]) -> None:
    """Put the questions into a pipeline."""
    for section in sections:
        pipe.info(section)


def merged(replies: Sequence[Any]) -> dict[str, Any]:
    """The sections as one INFO. Raises what the server answered instead."""
    found: dict[str, Any] = {}
    for reply in replies:
        if isinstance(reply, CONNECTION_ERRORS):
            raise reply
        found.update(reply if isinstance(reply, Mapping) else {})
    return found


def of(client: Any, sections: Sequence[str]) -> dict[str, Any]:
    """Some sections of a server's INFO, in one go. Raises what the client raises."""
    pipe = client.pipeline(transaction=False)
    ask(pipe, sections)
    return merged(pipe.execute(raise_on_error=False))


def errors(client: Any) -> dict[str, int]:
    """How many errors of each known code the server has answered; nothing where it does not say."""
    try:
        return counted(client.info("errorstats"))
    except CONNECTION_ERRORS:
        return {}


def counted(said: Any) -> dict[str, int]:
    """``{code: count}`` of INFO errorstats; the codes of scripts and modules are one."""
    found: dict[str, int] = {}
    for name, value in said.items() if isinstance(said, Mapping) else ():
        word, _, code = str(name).partition("_")
        if word == "errorstat":
            code = code if code in CODES else OTHER
            found[code] = found.get(code, 0) + _count(value)
    return found


def _count(value: Any) -> int:
    """Of ``count=5``: redis-py before 4.4 leaves a single pair as text, later ones make a dict of it."""
    return number(value.get("count") if isinstance(value, Mapping) else str(value).rpartition("count=")[2])
