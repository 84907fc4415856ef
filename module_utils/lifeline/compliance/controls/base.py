# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a control is, what it looks at, and what it may say.

A check never has to ask whether its evidence is there: ``Look`` raises ``NotSeenError`` where it is not, and the result
is an error. So nothing passes that was not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Iterable, Mapping, Optional

from ...common.facts import Facts
from ...diagnose.case import Case, Host, Server, Watcher

HIGH, MEDIUM, LOW = "high", "medium", "low"
SEVERITIES = (HIGH, MEDIUM, LOW)

# What a result may be. Error: it could not be looked at. Manual: only a person can tell.
PASS, FAIL, ERROR, NOT_APPLICABLE, WAIVED, MANUAL = "pass", "fail", "error", "not_applicable", "waived", "manual"
STATUSES = (FAIL, ERROR, WAIVED, MANUAL, PASS, NOT_APPLICABLE)

# What a control is asked about, one result for each.
SERVER, SENTINEL, HOST, APPLICATION, ESTATE = "server", "sentinel", "host", "application", "estate"


class NotSeenError(Exception):
    """Something that a check needs is not in the evidence; the text says what."""


@dataclass(frozen=True)
class Outcome:
    """What a check found: a status, and lines that a person can check."""

    status: str
    lines: tuple[str, ...]


def passed(*lines: str) -> Outcome:
    """It is as it should be."""
    return Outcome(PASS, lines)


def failed(*lines: str) -> Outcome:
    """It is not."""
    return Outcome(FAIL, lines)


def not_applicable(*lines: str) -> Outcome:
    """The control has no meaning here; the line says why."""
    return Outcome(NOT_APPLICABLE, lines)


def manual(*lines: str) -> Outcome:
    """A person must look; the line says at what."""
    return Outcome(MANUAL, lines)


def judged(problems: Iterable[str], fine: str) -> Outcome:
    """Failed with the problems, or passed with ``fine`` where there are none."""
    found = tuple(problems)
    return failed(*found) if found else passed(fine)


class Look:
    """Evidence whose absence is an error, not a default."""

    def __init__(self, facts: Facts, name: str) -> None:
        self.facts = facts
        self.name = name

    def _missing(self, path: str) -> NotSeenError:
        return NotSeenError(f"{self.name}.{path} was not looked at" if path else f"{self.name} was not looked at")

    def number(self, path: str) -> float:
        """A number. Raises NotSeenError."""
        value = self.facts.maybe_number(path)
        if value is None:
            raise self._missing(path)
        return value

    def count(self, path: str) -> int:
        """A whole number. Raises NotSeenError."""
        return int(self.number(path))

    def text(self, path: str) -> str:
        """Text, empty where the evidence says so. Raises NotSeenError."""
        if path not in self.facts:
            raise self._missing(path)
        return self.facts.text(path)

    def flag(self, path: str) -> bool:
        """True or false. Raises NotSeenError."""
        value = self.facts.maybe_flag(path)
        if value is None:
            raise self._missing(path)
        return value

    def texts(self, path: str) -> list[str]:
        """All texts of a list. Raises NotSeenError."""
        if path not in self.facts:
            raise self._missing(path)
        return self.facts.texts(path)

    def rows(self, path: str) -> list[Facts]:
        """The trees of a list. Raises NotSeenError."""
        if path not in self.facts:
            raise self._missing(path)
        return self.facts.rows(path)

    def sub(self, *keys: str) -> Look:
        """The tree below some keys. Raises NotSeenError."""
        found: Any = self.facts.plain
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            raise self._missing(".".join(keys))
        return Look(Facts(found), f"{self.name}.{'.'.join(keys)}")

    def maybe(self, *keys: str) -> Facts:
        """The tree below some keys; empty where there is none."""
        return self.facts.sub(*keys)


@dataclass(frozen=True)
class Subject:
    """What one check is asked about.

    ``look``: the host's posture (``observe.posture``). ``intent``: what the inventory says of this host; ``policy``: of
    the estate (see ``compliance.OPTIONS``). ``now``: seconds since 1970 by the host's own clock.
    """

    name: str
    case: Case
    intent: Facts
    policy: Facts
    host: Optional[Host] = None
    server: Optional[Server] = None
    watcher: Optional[Watcher] = None
    intents: Mapping[str, Facts] = field(default_factory=dict)

    @property
    def look(self) -> Look:
        """All of the host's posture. Raises NotSeenError when the host did not answer."""
        return posture(self.host, self.name)

    @property
    def redis(self) -> Look:
        """What the host's own server says. Raises NotSeenError when it did not answer."""
        return redis_of(self.host, self.name)

    @property
    def sentinel(self) -> Look:
        """What the host's own sentinel's files say. Raises NotSeenError."""
        return self.look.sub("sentinel")

    @property
    def now(self) -> float:
        """The host's clock. Raises NotSeenError."""
        if self.host is None:
            raise NotSeenError(f"{self.name} did not answer")
        return Look(self.host.facts, self.name).number("time")

    @property
    def config(self) -> Look:
        """The running server's settings."""
        return self.redis.sub("config")


def posture(host: Optional[Host], name: str) -> Look:
    """A host's posture. Raises NotSeenError when it did not answer."""
    if host is None:
        raise NotSeenError(f"{name} did not answer")
    return Look(host.facts, name).sub("posture")


def redis_of(host: Optional[Host], name: str) -> Look:
    """What a host's own server says. Raises NotSeenError when it did not answer."""
    server = posture(host, name).sub("redis")
    if not server.facts.flag("reachable"):
        raise NotSeenError(f"{name}: its server does not answer ({server.facts.text('error') or 'no reason given'})")
    return server


Check = Callable[[Subject], Outcome]


@dataclass(frozen=True)
class Control:
    """One thing that must be so.

    ``scope``: what it is asked about. ``check``: pure. ``fix``: the variable or playbook that makes it so.
    ``reference``: where the rule comes from. ``repairs``: whether ``compliance_remediate`` brings it in order.
    """

    id: str
    title: str
    severity: str
    scope: str
    why: str
    fix: str
    reference: str
    check: Check = field(compare=False)
    repairs: bool = False
