# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a fault injector is: a generator that breaks the lab, says what must be named, and repairs it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Optional

from lab import Lab

# Outcomes of a recovery that are right for a fault: in service and well; nothing was changed, and why; in service,
# with a step named that only a person can do; not in service, and the run said so and failed.
RECOVERED, REFUSED, LEFT, UNABLE = "recovered", "refused", "left to a person", "not back, and said so"


@dataclass(frozen=True)
class Expect:
    """What the diagnosis must say: the cause of the injector's id, seen in ``where``.

    ``also``: ids of further findings that are true as well, such as a failover's traces; any other is a false alarm.
    ``within``: seconds until it must be named; faults that show at once keep the default.
    """

    where: str
    also: tuple[str, ...] = ()
    within: float = 20.0


Injector = Callable[[Lab], Iterator[Expect]]


@dataclass(frozen=True)
class Fault:
    """One way to bring a cause about.

    ``quick``: in the subset that continuous integration runs. ``recovery``: what recover.yml has to make of it.
    ``destroys``: the fault itself takes acknowledged jobs away, of which no copy is left. ``remembered``: the server's
    log tells of it until its next start, also when nothing is wrong any more.
    """

    cause: str
    variant: str
    inject: Injector = field(compare=False)
    quick: bool = False
    recovery: str = RECOVERED
    destroys: bool = False
    remembered: bool = False

    @property
    def name(self) -> str:
        """cause, or cause:variant where there are several."""
        return f"{self.cause}:{self.variant}" if self.variant else self.cause


FAULTS: list[Fault] = []

# Causes that cannot be brought about here, and why: their evidence fixtures lie in tests/unit.
FIXTURES: dict[str, str] = {}


def fault(
    cause: str,
    variant: str = "",
    quick: bool = False,
    recovery: str = RECOVERED,
    destroys: bool = False,
    remembered: bool = False,
) -> Callable[[Injector], Injector]:
    """Registers a generator: what is before its ``yield`` breaks the lab, what is after it repairs it."""

    def register(inject: Injector) -> Injector:
        FAULTS.append(Fault(cause, variant, inject, quick, recovery, destroys, remembered))
        return inject

    return register


def find(name: Optional[str]) -> list[Fault]:
    """Faults by cause, by cause:variant or by the cause's family."""
    from lifeline.diagnose.causes.catalogue import by_id

    return [entry for entry in FAULTS if name in (None, entry.name, entry.cause, by_id(entry.cause).family)]


def named(name: str) -> Fault:
    """The one fault of that whole name, such as process_dead:replica. Raises ValueError."""
    found = [entry for entry in FAULTS if entry.name == name]
    if not found:
        raise ValueError(f"{name} is no fault: run.py --list shows all")
    return found[0]
