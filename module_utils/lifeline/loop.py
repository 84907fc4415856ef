# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run of recover.yml: observe, diagnose, plan, act, verify, report.

The role does the work on the hosts and notes what came of it; what follows from that is asked here, one property a
question, in the order of the loop. Nothing is kept between two questions: hosts go on in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

from .diagnose.case import FRESH_S
from .plan import ending
from .plan.remedies import remedy
from .plan.steps import ACT
from .report.text import outcome_text
from .rq import dead
from .rq.report import left_in_window, recovered

# Families of findings in which jobs may be lost, whoever ended the outage.
LOSING = ("process", "data")
NOT_CHANGED = "Nothing was changed."

# A variable of this host's play, None where there is none; what a host noted in the run, None where it did not.
Given = Callable[[str], Any]
Said = Callable[[str, str], Any]
Step = Mapping[str, Any]


@dataclass(frozen=True)
class Recovery:
    """How far the run has come, as seen from ``host``. ``now`` is in seconds since 1970, as all times here are.

    ``given`` and ``said`` are where variables and notes come from; ``control`` names the control node.
    """

    host: str
    given: Given
    said: Said
    now: float
    control: str = "a control node"

    # Who takes part

    @property
    def members(self) -> list[str]:
        """The estate's hosts, each once: servers, sentinels, applications."""
        groups = ("__redis_servers", "__redis_sentinels", "__redis_applications")
        return list(dict.fromkeys(host for group in groups for host in self.given(group)))

    @property
    def present(self) -> list[str]:
        """Those that are still in the play: who did not answer has left it."""
        playing = set(self.given("ansible_play_hosts"))
        return [host for host in self.members if host in playing]

    @property
    def reporting_host(self) -> str:
        """The one host that speaks for the estate on the terminal; empty where none is left."""
        return next(iter(self.present), "")

    @property
    def name(self) -> str:
        """What the run is called. One run of one control node begins at one moment."""
        return f"{self.control}-{self.said(self.reporting_host, '__redis_recovery_started')}"

    @property
    def apps(self) -> list[str]:
        """Application hosts that are still in the play."""
        return [host for host in self.given("__redis_applications") if host in self.present]

    @property
    def job_host(self) -> str:
        """Where jobs are seen to: on the primary's own host, since any other may be cut off from it."""
        name = self.primary.get("name", "")
        return name if name in self.present else self.reporting_host

    @property
    def probe_hosts(self) -> list[str]:
        """Who proves the service: the application hosts, as their applications write, and one Redis host."""
        return [*self.apps, self.job_host]

    # What was seen, and what a person has said

    @property
    def first(self) -> Mapping[str, Any]:
        """The diagnosis of the first look."""
        return self._diagnosis("__redis_recovery_first")

    @property
    def last(self) -> Mapping[str, Any]:
        """The diagnosis of the newest look."""
        return self._diagnosis("__redis_recovery_now")

    @property
    def primary(self) -> Mapping[str, Any]:
        """The live primary by the newest look; empty without one."""
        return self.last.get("primary") or {}

    @property
    def target(self) -> Mapping[str, Any]:
        """Whom to follow and to watch: the name is the diagnosis' answer, address and port are the inventory's."""
        nodes: Sequence[Mapping[str, Any]] = self.given("__redis_nodes")
        return next((node for node in nodes if node["name"] == self.primary.get("name", "")), {})

    @property
    def accepted(self) -> list[str]:
        """Servers whose writes a person has said may be lost: -e recover_accept_data_loss=redis1,redis2."""
        return names(self.given("recover_accept_data_loss"))

    @property
    def agreed(self) -> list[str]:
        """Kinds of steps that a person has agreed to, shown by the plan or not: -e recover_steps=relink,save."""
        return names(self.given("recover_steps"))

    @property
    def unfinished(self) -> float:
        """Since when runs before this one have left it something; 0 where they have not."""
        times = [(self.said(host, "__redis_lock") or {}).get("unfinished") for host in self.members]
        return min((float(time) for time in times if time), default=0.0)

    @property
    def outage(self) -> bool:
        """Whether there was an outage that jobs may have been lost in.

        Also one that Sentinel or systemd has ended before the first look, or a run that did not finish.
        """
        plan = self.first["plan"]
        hit = any(found["family"] in LOSING and found["severity"] != "info" for found in plan["findings"])
        return plan["verdict"] == ACT or self.unfinished > 0 or hit

    @property
    def window_start(self) -> float:
        """From when on failed jobs are of this outage, and of those that runs before this one have left."""
        window = float(self.given("redis_recovery_requeue_window"))
        began = [float(self.first["outage_began"])] if self.first["outage_began"] else []
        left = [self.unfinished - window] if self.unfinished else []
        return min([*began, *left], default=float(self._noted("__redis_recovery_started")) - window)

    # The plan

    @property
    def actions(self) -> Sequence[Step]:
        """The newest plan's steps."""
        return self.last["plan"]["actions"] if self.last else []

    @property
    def mine(self) -> list[Step]:
        """Those of this host."""
        return [action for action in self.actions if action["host"] == self.host]

    @property
    def tried(self) -> list[str]:
        """Every step that the run has planned so far, as remedy@host."""
        return [*(self._noted("__redis_recovery_tried") or []), *map(step_name, self.actions)]

    @property
    def urgent(self) -> bool:
        """Whether applications wait for a step of the plan; others are taken while the applications are seen to."""
        return not self.primary or any(not remedy(action["remedy"]).can_wait for action in self.actions)

    @property
    def refusal(self) -> str:
        """Why nothing is done."""
        said = str(self.last["plan"]["refusal"])
        return said if NOT_CHANGED[1:] in said else f"{said} {NOT_CHANGED}"

    # What was done

    @property
    def taken(self) -> list[Step]:
        """Every step of this run, with its times, in their order."""
        logs = (self.said(host, "__redis_recovery_step_log") or [] for host in self.members)
        return sorted((step for log in logs for step in log), key=lambda step: float(step["began"]))

    @property
    def awaited(self) -> list[Step]:
        """Steps of this host after which its server is waited for; one whose step failed stays what it is."""
        failed = {step["remedy"]: step["failed"] for step in self._noted("__redis_recovery_step_log") or []}
        return [step for step in self.mine if remedy(step["remedy"]).catches_up and not failed.get(step["remedy"])]

    @property
    def fresh(self) -> float:
        """For how many seconds back what was refused counts."""
        ended = max((float(step["ended"]) for step in self.taken), default=0.0)
        return min(FRESH_S, self.now - ended)

    @property
    def restarted(self) -> list[str]:
        """Units of applications that were restarted."""
        told = (self._services(host).get("restarted") or [] for host in self.given("__redis_applications"))
        return list(dict.fromkeys(unit for units in told for unit in units))

    @property
    def did(self) -> bool:
        """Whether the run did anything: steps, units restarted, jobs put back."""
        return bool(self.taken or self.restarted or any(result.get("changed") for result in self.requeues))

    # The jobs of this outage

    @property
    def holds(self) -> list[Mapping[str, Any]]:
        """What holding jobs came to, on whichever host saw to it."""
        return self._results("__redis_recovery_held", "__redis_recovery_held_late")

    @property
    def requeues(self) -> list[Mapping[str, Any]]:
        """What putting jobs back came to."""
        return self._results("__redis_recovery_requeued", "__redis_recovery_requeued_taken")

    @property
    def hold_now(self) -> bool:
        """Whether failed jobs are to be held: once in a run, as soon as there is a primary."""
        held = any("skipped" not in result for result in self.holds)
        wanted = truth(self.given("redis_recovery_hold")) and not self.given("ansible_check_mode")
        return bool(wanted and self.primary and not held and self.outage)

    @property
    def dead_workers(self) -> list[dict[str, str]]:
        """Workers that application hosts have said are dead."""
        return dead.collect(self._services(host) for host in self.given("__redis_applications"))

    @property
    def watched(self) -> bool:
        """Whether every application host has said which of its workers are dead: who then has a lease is at work."""
        hosts = self.given("__redis_applications")
        return bool(hosts) and all("gone_workers" in self._services(host) for host in hosts)

    @property
    def left(self) -> dict[str, int]:
        """Failed jobs of this outage that were not put back, by reason."""
        return left_in_window(self._noted("__redis_recovery_requeued") or {}, self.watched)

    # How it ends

    @property
    def write_through(self) -> str:
        """Through which address a write was taken; empty where none was."""
        return next((str(proof["address"]) for proof in self._proofs() if proof.get("address")), "")

    @property
    def proven_at(self) -> float:
        """When the first write was taken; 0 where none was."""
        times = [float(proof["written_at"]) for proof in self._proofs() if "written_at" in proof]
        return min(times, default=0.0)

    @property
    def verdict(self) -> dict[str, Any]:
        """The end, its exit status and its sentence."""
        wanted = truth(self.given("redis_recovery_prove"))
        return ending.verdict(self._estate, self.last["plan"], self.taken, self.write_through, wanted).as_dict()

    @property
    def good_end(self) -> bool:
        """Whether the run got to its end."""
        return self.verdict["ending"] not in ending.AGAIN

    @property
    def broken_off(self) -> bool:
        """Whether another run has to do the rest."""
        undone = any("skipped" not in result and "requeued" not in result for result in self.requeues)
        return undone or not self._noted("__redis_recovery_finished")

    @property
    def outcome(self) -> list[str]:
        """What happened, line by line."""
        followed = (self.said(host, "__redis_recovery_followed") or {} for host in self.given("__redis_servers"))
        kept = ((result.get("quarantine") or {}).get("text") for result in followed)
        facts = {
            "write_through": self.write_through,
            "unfinished": self.unfinished,
            "restarted": self.restarted,
            "taken": self.taken,
            "preserved": [text for text in kept if text],
            "jobs": recovered(self.holds, self.requeues, self.watched),
        }
        seconds = self.now - float(self._noted("__redis_recovery_started"))
        return outcome_text(self._estate, self.first, self.last, seconds, facts)

    @property
    def told(self) -> list[str]:
        """The outcome as the terminal shows it, with where the record is."""
        return [*self.outcome, *([f"Record: {self._record}"] if self._record else [])]

    @property
    def tasks_failed(self) -> str:
        """That the user's own tasks after the recovery failed."""
        return f"Your tasks {self.given('redis_recovery_tasks_after')} failed; the recovery stands as it is."

    @property
    def not_announced(self) -> str:
        """That the web hook was not told."""
        status = (self._noted("__redis_recovery_announced") or {}).get("status") or "nothing"
        return f"The web hook answered {status}; the recovery stands as it is."

    @property
    def state(self) -> dict[str, Any]:
        """``redis_recovery_state``: what tasks and web hooks of the user's are told."""
        plan = self.last["plan"]
        return {
            "estate": self._estate,
            "run": self._noted("__redis_recovery_run"),
            "verdict": plan["verdict"],
            "summary": plan["summary"],
            "primary": dict(self.primary),
            "findings": [f"{finding['id']}@{finding['where']}" for finding in self.first["findings"]],
            "steps": [step_name(step) for step in self.taken],
            "record": self._record,
        }

    # Where it comes from

    @property
    def _estate(self) -> str:
        return str(self.given("redis_estate"))

    @property
    def _record(self) -> str:
        return str(next(iter((self._noted("__redis_recovery_record") or {}).get("files") or []), ""))

    def _noted(self, name: str) -> Any:
        return self.said(self.host, name)

    def _diagnosis(self, name: str) -> Mapping[str, Any]:
        """One that this host noted; empty before the first look."""
        found: Mapping[str, Any] = self._noted(name) or {}
        return found

    def _services(self, host: str) -> Mapping[str, Any]:
        found: Optional[Mapping[str, Any]] = self.said(host, "__rq_services_result")
        return found or {}

    def _results(self, *names: str) -> list[Mapping[str, Any]]:
        found = (self.said(host, name) for name in names for host in self.members)
        return [result for result in found if result is not None]

    def _proofs(self) -> Iterable[Mapping[str, Any]]:
        hosts = dict.fromkeys([*self.given("__redis_applications"), *self.members])
        found = (self.said(host, "__redis_recovery_canary") for host in hosts)
        return [proof for proof in found if proof]


def step_name(step: Step) -> str:
    """remedy@host."""
    return f"{step['remedy']}@{step['host']}"


def names(given: Any) -> list[str]:
    """A list of names, or one with commas between them, as it is typed; empty where nothing was said."""
    if isinstance(given, str):
        return [name.strip() for name in given.split(",") if name.strip()]
    return [str(name) for name in given or ()]


def truth(given: Any) -> bool:
    """What a variable says that was typed, as Ansible's filter ``bool`` reads it."""
    return given if isinstance(given, bool) else str(given).strip().lower() in ("yes", "on", "1", "true")
