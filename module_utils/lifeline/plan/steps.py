# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The shapes of a plan: what was found, one step, the whole, and what a person has said may be lost."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from ..common.facts import Facts
from ..diagnose.findings import Finding
from ..diagnose.topology import Watcher

HEALTHY = "healthy"  # nothing to do
ACT = "act"  # the actions are safe
REFUSED = "refused"  # nothing will be done; the refusal says why and what to do
DEGRADED = "degraded"  # in service, and what is left needs a person


@dataclass
class Action:
    """One step: which remedy, on which host it runs, with what. ``why`` is for people."""

    remedy: str
    host: str
    why: str
    args: dict[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> str:
        """How it is called in what is remembered: ``remedy@host``."""
        return f"{self.remedy}@{self.host}"


@dataclass
class Plan:
    """What to do now. After the actions, observe and plan again.

    ``announced``: kinds of steps that this run may take, now and in later rounds. ``waiting``: steps of other kinds.
    ``unhelped``: steps taken, as remedy@host, whose reason is still there. ``marks``: what each of these and of the
    actions looked like (``aftermath.mark``).
    """

    verdict: str
    summary: str
    findings: list[Finding] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    refusal: Optional[str] = None
    todo: list[str] = field(default_factory=list)
    loss: Optional[str] = None
    announced: list[str] = field(default_factory=list)
    waiting: list[Action] = field(default_factory=list)
    unhelped: list[str] = field(default_factory=list)
    marks: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for reports and for Ansible; it shares its parts with this."""
        return {
            **vars(self),
            "findings": [finding.as_dict() for finding in self.findings],
            "actions": [dict(vars(action)) for action in self.actions],
            "waiting": [dict(vars(action)) for action in self.waiting],
        }


# Bytes of writes that a person gives up by naming a server, where no other limit is said (as Patroni's default).
LOSS_LIMIT = 1048576


@dataclass(frozen=True)
class Accepted:
    """Whose writes a person has said may be lost, and how many bytes of them; below 0, however many they are."""

    hosts: frozenset[str] = frozenset()
    most: int = LOSS_LIMIT

    def covers(self, name: str, lost: Optional[int]) -> bool:
        """Whether so many bytes (None: nobody can tell) of that server's writes may be lost."""
        return name in self.hosts and (self.most < 0 or (lost is not None and lost <= self.most))

    @property
    def unmeasured(self) -> frozenset[str]:
        """Servers whose writes may be lost though nobody can tell how many they are."""
        return self.hosts if self.most < 0 else frozenset()


NOTHING_ACCEPTED = Accepted()


@dataclass(frozen=True)
class Terms:
    """What a plan has to keep to.

    ``announced``: kinds of steps that the plan shown stands for, None for the first one; ``agreed``: kinds that a
    person has agreed to; ``before``: steps that runs before this took in vain; ``silent``: why hosts gave no evidence.
    """

    announced: Optional[Sequence[str]] = None
    agreed: Sequence[str] = ()
    before: Mapping[str, Facts] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)


NO_TERMS = Terms()


def option(names: Sequence[str], lost: Optional[int] = None) -> str:
    """What to type to give up those servers' writes; ``lost`` bytes, None where nobody can tell."""
    most = -1 if lost is None else lost
    return f"-e recover_accept_data_loss={','.join(names)} -e recover_accept_data_loss_bytes={most}"


def refuse(sentence: str) -> Plan:
    """Nothing is done, and why."""
    return Plan(REFUSED, sentence, refusal=sentence)


def start_sentinel(watcher: Watcher) -> Action:
    """The step that starts a sentinel which died."""
    return Action("start_sentinel", watcher.name, "its process is dead")


# All that a step is ever told. Units, paths and addresses that it acts upon are the acting host's own variables in the
# inventory, so that no host's word leads a privileged step on another one anywhere.
SWITCHES = ("preserve", "fresh", "kill", "elected", "confirmed_dead")
MODES = ("sentinel", "replication")


def bound(args: Mapping[str, Any]) -> dict[str, Any]:
    """Those arguments that a step may be told: switches, the way of a failover, and ``addresses`` to leave alone."""
    kept: dict[str, Any] = {name: args[name] for name in SWITCHES if isinstance(args.get(name), bool)}
    if args.get("mode") in MODES:
        kept["mode"] = args["mode"]
    listed = args.get("addresses")
    if isinstance(listed, (list, tuple)):
        kept["addresses"] = [str(entry) for entry in listed if _is_address(entry)]
    return kept


def _is_address(text: Any) -> bool:
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return False
    return True
