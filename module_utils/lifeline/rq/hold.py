# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeping failed jobs from expiring while people still think what to do with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..common.client import CONNECTION_ERRORS
from . import options
from .requeue import Run
from .server import Server, target


def work(params: dict[str, Any], check: bool, make: Callable[..., Server] = Server) -> dict[str, Any]:
    """The module rq_hold."""
    server = make(target(params))
    defaults = {name: option.get("default") for name, option in options.requeue().items()}
    # Holding harms nobody, so that what requeueing leaves out by itself is held as well.
    chosen = {**defaults, **params, "max_jobs": 0, "include_stopped": True, "include_completed": True, "return_ids": 0}
    run = Run(server, {**chosen, "sample": 0}, check, verb="hold" if params["state"] == "held" else "release")
    try:
        done = run.everything()
    except CONNECTION_ERRORS as error:
        raise server.error(error) from error
    counted = {text: sizes["failed"] for text, sizes in done["diff"]["before"].items()}
    return {
        "changed": done["requeued"] > 0,
        params["state"]: done["requeued"],
        "unchanged": done["left"].get("held", 0),
        "gone": done["left"].get("missing", 0),
        "left": done["left"],
        "queues": done["queues"],
        "redis": done["redis"],
        "duration": done["duration"],
        "diff": {
            "before": {params["state"]: 0, "failed": counted},
            "after": {params["state"]: done["requeued"], "failed": counted},
        },
    }
