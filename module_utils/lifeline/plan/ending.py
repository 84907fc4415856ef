# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How recover.yml ends: its exit status and the one sentence that says why. Pure; docs/operations.md has the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from .remedies import title
from .steps import DEGRADED, HEALTHY

# ansible-playbook's own statuses: a host failed; a host did not answer; what it was asked to do is not valid.
SUCCESS, FAILED, UNREACHABLE, INVALID = 0, 2, 4, 1

# How a run may end, and what recover.yml then exits with.
ENDINGS: dict[str, tuple[int, str]] = {
    "healthy": (SUCCESS, "a write was proven, and nothing is left to do"),
    "degraded": (SUCCESS, "a write was proven; what is left is listed under *For you*"),
    "not asked to prove": (SUCCESS, "in service by what its hosts say; `redis_recovery_prove` is false"),
    "step failed": (FAILED, "a write was proven, but a step failed, and what it was for is still there"),
    "not proven": (FAILED, "its hosts say that it is in service, but nobody could prove it with a write"),
    "not back": (FAILED, "refused, or tried and not in service; the sentence says which"),
}

# After these, another run has work to do.
AGAIN = ("not back", "not proven")


@dataclass(frozen=True)
class Verdict:
    """How a run ended: a key of ``ENDINGS``, its status, and a sentence for who reads it; empty where all is well."""

    ending: str
    sentence: str = ""

    @property
    def status(self) -> int:
        """What recover.yml exits with."""
        return ENDINGS[self.ending][0]

    def as_dict(self) -> dict[str, Any]:
        """For Ansible."""
        return {"ending": self.ending, "status": self.status, "sentence": self.sentence}


def verdict(
    estate: str, plan: Mapping[str, Any], taken: Sequence[Mapping[str, Any]], proof: str, wanted: bool = True
) -> Verdict:
    """How a run ends whose last look made ``plan``.

    ``taken``: the steps, as in ``report.incident``. ``proof``: through which address a write was taken, if one was.
    ``wanted``: whether one was asked for.
    """
    if plan["verdict"] not in (HEALTHY, DEGRADED):
        said = plan.get("refusal") or plan["summary"]
        return Verdict("not back", f"Estate {estate} is NOT back in service. {said}".strip())
    failed = failures(plan, taken)
    if failed:
        names = "; ".join(f"{title(step['remedy'])} (on {step['host']}): {step['failed']}" for step in failed)
        return Verdict("step failed", f"Estate {estate} is in service, but not all is well. A step failed: {names}")
    if proof:
        return Verdict(plan["verdict"])
    if not wanted:
        return Verdict("not asked to prove")
    return Verdict(
        "not proven",
        f"Estate {estate} looks in service, but no host could prove it with a write: none of the application hosts has "
        "the file that redis_recovery_canary_url_file names. Name the right file, or run again with "
        "-e redis_recovery_prove=false where there is nothing to prove.",
    )


def failures(plan: Mapping[str, Any], taken: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Steps whose last try failed, and whose reason is still there."""
    last = {f"{step['remedy']}@{step['host']}": step for step in taken}
    return [step for name, step in last.items() if step["failed"] and name in plan.get("unhelped", ())]
