# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a mutation is: a generator that makes one control fail on the lab, says where, and takes that back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lab import Lab


@dataclass(frozen=True)
class Expect:
    """Where the control must fail. ``also``: controls that fail with it of necessity; any other is a false alarm.

    ``options``: for ansible-playbook, where the mutation is one of the inventory.
    """

    where: tuple[str, ...]
    also: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


Mutate = Callable[[Lab, str], Iterator[Expect]]


@dataclass(frozen=True)
class Mutation:
    """``repaired``: whether ``compliance_remediate`` must bring it in order. ``quick``: in the subset for CI.

    ``apart``: it restarts something or is one of the inventory, so it is never brought about with others.
    """

    control: str
    mutate: Mutate = field(compare=False)
    repaired: bool = False
    quick: bool = False
    apart: bool = False


MUTATIONS: list[Mutation] = []

# Controls that cannot be made to fail on the lab, and why; their failing case is in tests/unit/test_controls.py.
FIXTURES = {
    "RDS-018": "no module is packaged that could be loaded",
    "RDS-039": "the other sentinels correct one that names a replica, within seconds",
    "RDS-047": "the lab's estate is no cluster",
    "HST-004": "memory of a container is swapped by its host, at the host's choice",
    "HST-005": "the clock of a container is its host's: the control is not applicable",
    "HST-007": "a process in a container may not raise its limit on core dumps",
    "HST-008": "the audit of a container is its host's: the control is not applicable",
}


def mutation(
    control: str, repaired: bool = False, quick: bool = False, apart: bool = False
) -> Callable[[Mutate], Mutate]:
    """Registers a generator: what is before its ``yield`` breaks the lab, what is after it takes that back."""

    def register(mutate: Mutate) -> Mutate:
        MUTATIONS.append(Mutation(control, mutate, repaired, quick, apart))
        return mutate

    return register
