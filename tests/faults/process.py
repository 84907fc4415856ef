# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Injectors of the family process."""

from __future__ import annotations

from collections.abc import Iterator

from base import Expect, fault
from lab import UNIT, Lab


@fault("process_dead", "replica", quick=True)
def replica_killed(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.kill_for_good(replica)
    yield Expect(replica)
    lab.on(replica, "systemctl", "reset-failed", UNIT)
    lab.on(replica, "systemctl", "start", UNIT)


@fault("stopped_by_hand")
def replica_stopped(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.on(replica, "systemctl", "stop", UNIT)
    yield Expect(replica)
    lab.on(replica, "systemctl", "start", UNIT)


@fault("host_gone", "replica")
def replica_without_power(lab: Lab) -> Iterator[Expect]:
    replica = lab.replicas()[0]
    lab.cut_power(replica)
    yield Expect(replica)
    lab.power_on(replica)
