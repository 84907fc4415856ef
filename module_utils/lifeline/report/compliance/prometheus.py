# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Metrics for node_exporter's textfile collector."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Mapping, Sequence


def render(report: Mapping[str, Any]) -> str:
    """In the text format; every metric has the label ``estate``."""
    estate = {"estate": report["service"]}
    said, waivers = report["summary"], report["waivers"]
    gone = float(len(report["expired_waivers"]))
    status = [({**estate, "host": row["where"], "control": row["control"], "severity": row["severity"],
                "status": row["status"]}, 1.0) for row in report["results"]]  # fmt: skip
    results = [({**estate, "severity": severity, "status": name}, float(count))
               for severity, counts in said["by_severity"].items() for name, count in counts.items()]  # fmt: skip
    until = [({**estate, "control": waiver["control"], "owner": waiver["owner"], "hosts": ",".join(waiver["hosts"])},
              _day(waiver["expires"])) for waiver in waivers]  # fmt: skip
    parts = [
        _metric("compliant", "Whether the estate keeps all controls that its threshold asks for.",
                [(estate, float(report["verdict"]["compliant"]))]),
        _metric("score_percent", "Share of the controls judged that passed.", [(estate, float(said["score"]))]),
        _metric("last_run_timestamp_seconds", "When the report was made.", [(estate, float(report["time"]))]),
        _metric("results", "Results by severity and status.", results),
        _metric("waivers_expired", "Waivers whose last day is over.", [(estate, gone)]),
        _metric("waiver_expiry_timestamp_seconds", "End of a waiver's last day.", _unique(until)),
        _metric("control_status", "One for the status that a control has on a host.", status),
    ]  # fmt: skip
    return "".join(parts)


def _day(text: str) -> float:
    return (datetime.fromisoformat(text).replace(tzinfo=timezone.utc) + timedelta(days=1)).timestamp()


def _unique(samples: Sequence[tuple[Mapping[str, str], float]]) -> list[tuple[Mapping[str, str], float]]:
    """Two waivers for the same would be one series with two values: the later day counts."""
    best: dict[tuple[tuple[str, str], ...], float] = {}
    for labels, value in samples:
        key = tuple(sorted(labels.items()))
        best[key] = max(value, best.get(key, value))
    return [(dict(key), value) for key, value in best.items()]


def _metric(name: str, text: str, samples: Sequence[tuple[Mapping[str, str], float]]) -> str:
    full = f"lifeline_compliance_{name}"
    lines = [f"{full}{{{_labels(labels)}}} {_number(value)}\n" for labels, value in samples]
    return f"# HELP {full} {text}\n# TYPE {full} gauge\n{''.join(lines)}" if lines else ""


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
