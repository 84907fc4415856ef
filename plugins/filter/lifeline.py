# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Jinja filters: thin doors to module_utils/lifeline for the control node."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Callable, Sequence

from ansible import context
from ansible.errors import AnsibleFilterError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "module_utils"))


from lifeline.act import lock
from lifeline.common import memory, url
from lifeline.common.facts import clean_all, plain
from lifeline.diagnose import evidence
from lifeline.errors import LifelineError
from lifeline.formats import redis_conf
from lifeline.inventory import estate
from lifeline.plan import switchover as switch
from lifeline.plan.diagnosis import plan_from_evidence
from lifeline.report import text as report
from lifeline.report.compliance import text as compliance_text


def on_plain_data(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, called with ordinary dicts and lists: Ansible's own are lazy, and dataclasses cannot copy them."""

    def door(*values: Any) -> Any:
        return function(*(plain(value) for value in values))

    return door


def said(
    hostvars: Any, members: Sequence[str], present: Sequence[str], variable: str, service: str, looked: Any
) -> list[Any]:
    """The evidence that the members registered in that look (``evidence.registered``)."""
    found = evidence.registered(hostvars, members, set(present), variable, service, str(looked))
    return list(plain(found["evidence"]))


def shown(function: Callable[..., Any]) -> Callable[..., Any]:
    """``on_plain_data`` for what makes texts for the terminal, of which a host or server may have had a part."""

    def door(*values: Any) -> Any:
        return clean_all(on_plain_data(function)(*values))

    return door


def lock_is_due(answer: Any, stale_s: Any) -> bool:
    """Whether a run should renew its lock now (``lock.is_due``)."""
    return lock.is_due(answer, float(stale_s), time.time())


def play_hosts(groups: Any, *asked: Any) -> str:
    """Which hosts a playbook works on (``estate.play_hosts``)."""
    if context.CLIARGS.get("syntax"):
        return "all"  # whoever checks the syntax needs no hosts
    try:
        return estate.play_hosts(groups, *asked)
    except LifelineError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters named lifeline_*."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "lifeline_estate": estate.members,
            "lifeline_hosts": play_hosts,
            "lifeline_without_servers": estate.without_servers,
            "lifeline_evidence": said,
            "lifeline_endpoints": estate.endpoints,
            "lifeline_lock_name": url.lock_name,
            "lifeline_lock_due": on_plain_data(lock_is_due),
            "lifeline_lock_refusal": on_plain_data(lock.refusal),
            "lifeline_redis_conf": redis_conf.lines,
            "lifeline_stored_password": redis_conf.stored_password,
            "lifeline_sizing": memory.sizing,
            "lifeline_plan": on_plain_data(plan_from_evidence),
            "lifeline_switch_plan": on_plain_data(switch.switch_plan),
            "lifeline_switch_batches": on_plain_data(switch.batches),
            "lifeline_plan_text": shown(report.plan_text),
            "lifeline_next_text": shown(report.next_text),
            "lifeline_compliance_text": shown(compliance_text.lines),
        }
