# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Argument specs of the RQ modules; documented in plugins/doc_fragments/rq_connection.py and rq_selection.py."""

from __future__ import annotations

from typing import Any

from ..common.spec import connection_spec
from .keys import DEFAULT_PREFIX

SOURCES = (
    "failed", "abandoned", "intermediate", "orphaned", "scheduled_overdue", "deferred_ready", "ready",
)  # fmt: skip
GATHER = ("queues", "workers", "schedulers", "lost", "redis", "orphans", "integrity")


def connection() -> dict[str, Any]:
    """One server, a URL, or the nodes or sentinels to ask for the primary."""
    return {
        **connection_spec(),
        "login_db": {"type": "int", "default": 0},
        "url": {"type": "str", "no_log": True},
        "nodes": {"type": "list", "elements": "raw", "default": []},
        "sentinels": {"type": "list", "elements": "raw", "default": []},
        "sentinel_service": {"type": "str"},
        "sentinel_user": {"type": "str"},
        "sentinel_password": {"type": "str", "no_log": True},
        "sentinel_tls": {"type": "bool"},
        "ready_timeout": {"type": "float", "default": 30.0},
        "key_prefix": {"type": "str", "default": DEFAULT_PREFIX, "no_log": False},
    }


def selection() -> dict[str, Any]:
    """Which jobs: the same for requeueing and for holding."""
    return {
        "queues": {"type": "list", "elements": "str", "required": True},
        "all_jobs": {"type": "bool", "default": False},
        "job_ids": {"type": "list", "elements": "str", "default": []},
        "functions": {"type": "list", "elements": "str", "default": []},
        "exclude_functions": {"type": "list", "elements": "str", "default": []},
        "exception": {"type": "str"},
        "failed_after": {"type": "str"},
        "failed_before": {"type": "str"},
        "older_than": {"type": "str"},
        "worker": {"type": "list", "elements": "str", "default": []},
        "include_stopped": {"type": "bool", "default": False},
        "include_completed": {"type": "bool", "default": False},
    }


def requeue() -> dict[str, Any]:
    """Everything that rq_requeue takes."""
    return {
        **connection(),
        **selection(),
        "sources": {"type": "list", "elements": "str", "choices": list(SOURCES), "default": ["failed"]},
        "max_jobs": {"type": "int", "default": 10000},
        "on_excess": {"type": "str", "choices": ["fail", "truncate"], "default": "fail"},
        "max_requeues": {"type": "int"},
        "position": {"type": "str", "choices": ["back", "front"], "default": "back"},
        "ttl_policy": {"type": "str", "choices": ["persist", "rq"], "default": "persist"},
        "retries": {"type": "str", "default": "keep"},
        "grace": {"type": "float", "default": 60.0},
        "workers_stopped": {"type": "bool", "default": False},
        "dead_workers": {"type": "list", "elements": "raw", "default": []},
        "worker_silence": {"type": "float", "default": 35.0},
        "batch_size": {"type": "int", "default": 200},
        "max_stall_ms": {"type": "float", "default": 3.0},
        "allow_missing_parents": {"type": "bool", "default": False},
        "missing": {"type": "str", "choices": ["ignore", "prune", "fail"], "default": "ignore"},
        "rate": {"type": "float", "default": 0.0},
        "wait_replicas": {"type": "int", "default": 0},
        "wait_timeout": {"type": "int", "default": 1000},
        "dedupe": {"type": "bool", "default": False},
        "time_limit": {"type": "float", "default": 0.0},
        "resume": {"type": "dict"},
        "return_ids": {"type": "int", "default": 100},
        "sample": {"type": "int", "default": 1000},
    }


def info() -> dict[str, Any]:
    """Everything that rq_info takes."""
    return {
        **connection(),
        "queues": {"type": "list", "elements": "str", "default": []},
        "gather": {"type": "list", "elements": "str", "choices": list(GATHER), "default": list(GATHER[:5])},
        "grace": {"type": "float", "default": 60.0},
        "sample": {"type": "int", "default": 10000},
        "top": {"type": "int", "default": 20},
    }


def hold() -> dict[str, Any]:
    """Everything that rq_hold takes."""
    chosen = selection()
    for name in ("include_stopped", "include_completed"):
        del chosen[name]
    return {
        **connection(),
        **chosen,
        "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
        "batch_size": {"type": "int", "default": 200},
        "max_stall_ms": {"type": "float", "default": 3.0},
    }
