# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module redis_diagnose: every estate's diagnosis, with its reports or as text."""

from __future__ import annotations

from typing import Any, Mapping

from ..diagnose import evidence as documents
from ..diagnose.case import FRESH_S
from ..plan.diagnosis import HEALTHY, VERDICTS, diagnose
from ..plan.steps import LOSS_LIMIT
from .files import write
from .text import RECOVER, diagnoses_text

# Options of the module redis_diagnose.
OPTIONS: dict[str, Any] = {
    "service": {"type": "str"},
    "evidence": {"type": "list", "elements": "dict", "default": []},
    "evidence_file": {"type": "path"},
    "nodes": {"type": "list", "elements": "dict", "default": []},
    "sentinels": {"type": "list", "elements": "dict", "default": []},
    "applications": {"type": "list", "elements": "str", "default": []},
    "quorum": {"type": "int", "default": 0},
    "unasked": {"type": "list", "elements": "str", "default": []},
    "silent": {"type": "dict", "default": {}},
    "tried": {"type": "list", "elements": "str", "default": []},
    "fresh": {"type": "float", "default": FRESH_S},
    "accept_data_loss": {"type": "list", "elements": "str", "default": []},
    "accept_data_loss_bytes": {"type": "int", "default": LOSS_LIMIT},
    "announced": {"type": "list", "elements": "str"},
    "agreed": {"type": "list", "elements": "str", "default": []},
    "memory_dir": {"type": "path"},
    "again": {"type": "bool", "default": False},
    "registered": {"type": "str"},
    "round": {"type": "str", "default": ""},
    "report_dir": {"type": "path"},
    "show": {"type": "bool", "default": False},
    "command": {"type": "str", "default": RECOVER},
    "fail": {"type": "bool", "default": False},
}
ONE_OF = (("service", "evidence_file"),)


def work(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Module ``redis_diagnose``; ``params`` are its options.

    Raises LifelineError when a bundle cannot be read or a report not be written.
    """
    estates = documents.load(params["evidence_file"]) if params.get("evidence_file") else [params]
    diagnoses, reports = [], []
    for estate in estates:
        diagnosis = diagnose(estate)
        written = write(params["report_dir"], estate, diagnosis) if params.get("report_dir") else []
        diagnoses.append({**diagnosis, "reports": written})
        reports += written
    diagnoses.sort(key=lambda diagnosis: VERDICTS.index(diagnosis["verdict"]))
    worst = diagnoses[0]
    result: dict[str, Any] = {"diagnosis": worst, "diagnoses": diagnoses, "reports": reports}
    if params.get("show"):
        result = {"text": diagnoses_text(diagnoses, params["command"])}
    if params.get("fail") and worst["verdict"] != HEALTHY:
        result.update(failed=True, msg=f"Estate {worst['service']} is {worst['verdict']}: {worst['summary']}.")
    return result
