# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every form of a diagnosis' report says in the same words. Nothing here is escaped; each form does that."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from ..common.words import NAMES, lower, names
from ..plan.remedies import title

MEANING = {
    "healthy": "in service, and everybody agrees",
    "impaired": "in service, without its safety margin",
    "down": "out of service, or about to lose data",
    "blind": "nobody could look",
}


# How far back a line of evidence is looked for that several findings have in common.
SAME = 20


def unseen(diagnosis: Mapping[str, Any], shown: int = NAMES) -> str:
    """What could not be looked at in time, in one line; empty where everything was."""
    parts = diagnosis.get("unseen") or ()
    return f"{names(parts, shown)}. More time: diagnose.yml -e diagnose_patience=10" if parts else ""


def count(number: int, what: str) -> str:
    """``1 step``, ``2 steps``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def primary(diagnosis: Mapping[str, Any]) -> str:
    """Who is primary, or who it was."""
    agreed = diagnosis["primary"]
    if agreed:
        return f"{agreed['name']} ({agreed['host']}:{agreed['port']})"
    topology = diagnosis["topology"]
    if topology["claims"]:
        return f"disputed: {' and '.join(topology['claims'])} each say that they are"
    return f"none; the last one was {topology['last_primary']}" if topology["last_primary"] else "none"


def parties(diagnosis: Mapping[str, Any]) -> str:
    """How many of each kind are as they should be, in one line."""
    seen = diagnosis["parties"]
    servers, sentinels = seen["servers"], seen["sentinels"]
    said = [f"{sum(server['alive'] for server in servers)} of {count(len(servers), 'server')} answering"]
    if sentinels:
        chosen = (diagnosis["primary"] or {}).get("name")
        agreeing = sum(bool(chosen) and sentinel["names"] == chosen for sentinel in sentinels)
        said.append(
            f"{agreeing} of {count(len(sentinels), 'sentinel')} naming {chosen}"
            if chosen
            else f"{sum(sentinel['alive'] for sentinel in sentinels)} of {count(len(sentinels), 'sentinel')} answering"
        )
    for word, label in (("silent", "silent hosts"), ("unasked", "hosts left out of this run")):
        absent = hosts(diagnosis, word)
        if absent:
            said.append(f"{label}: {names(absent)}")
    return "; ".join(said)


def hosts(diagnosis: Mapping[str, Any], state: str) -> list[str]:
    """Names of hosts that answered, are silent, or were unasked."""
    seen = diagnosis["parties"]
    rows = [*seen["servers"], *seen["sentinels"], *seen["applications"]]
    return list(dict.fromkeys(row["name"] for row in rows if row["host"] == state))


def applications(diagnosis: Mapping[str, Any]) -> str:
    """What it means for those who use the estate, in one line; empty where no application host is known."""
    rows = diagnosis["parties"]["applications"]
    told = [row for row in rows if row["host"] == "answered" and row["configured"]]
    reached = {id(row): reaches(diagnosis, row) for row in told}
    groups = (
        ("cannot reach Redis", [row["name"] for row in told if not reached[id(row)]]),
        ("on a server that is not the primary", [row["name"] for row in told if reached[id(row)] == "other"]),
        ("on the primary", [row["name"] for row in told if reached[id(row)] == "primary"]),
        ("unknown", [row["name"] for row in rows if id(row) not in reached]),
    )
    return "; ".join(f"{names(everybody)} {state}" for state, everybody in groups if everybody)


def jobs(diagnosis: Mapping[str, Any]) -> str:
    """RQ's jobs and the sessions, in one line; empty where nobody could look."""
    seen = diagnosis["parties"]["jobs"]
    if not seen:
        return ""
    counts = [(name, seen[name]) for name in ("waiting", "running", "failed", "stuck", "overdue")]
    said = ", ".join(f"{number:,} {name}" for name, number in counts if number or name in ("waiting", "failed"))
    if seen["lost"]:
        said += f"; requeue.yml can put {seen['lost']:,} back"
    dead = f", {seen['workers_dead']} dead" if seen["workers_dead"] else ""
    said += f"; {count(seen['workers'], 'worker')} alive{dead}"
    if seen["suspended"]:
        said += "; all suspended"
    if seen["sessions"]:
        said += f"; sessions: {names([f'{number:,} of {pattern}' for pattern, number in seen['sessions'].items()])}"
    old = "" if seen["role"] == "primary" else f" (by a {seen['role'] or 'server'} that {seen['host']} reached)"
    return said + old


def reaches(diagnosis: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """What an application's URL leads to: ``primary``, ``other`` for any other server, or empty for nobody."""
    if not row["reachable"]:
        return ""
    agreed = (diagnosis["primary"] or {}).get("name")
    astray = row["role"] == "replica" or (row["server"] and agreed and row["server"] != agreed)
    return "other" if astray else "primary"


def grouped(findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One finding for all that are alike but for where they were seen: ``where`` has all places, evidence all lines."""
    alike: dict[tuple[Any, ...], dict[str, Any]] = {}
    places: dict[tuple[Any, ...], list[str]] = {}
    for finding in findings:
        key = tuple(finding[name] for name in ("severity", "id", "sure", "unknown"))
        one = alike.setdefault(key, {**finding, "evidence": [], "consequences": []})
        one["evidence"] += [line for line in finding["evidence"] if line not in one["evidence"][-SAME:]]
        one["consequences"] += finding["consequences"]
        places.setdefault(key, []).append(finding["where"])
    return [{**one, "where": names(places[key])} for key, one in alike.items()]


def shown(lines: Sequence[str], limit: int) -> list[str]:
    """The first lines, and how many more there are."""
    if len(lines) <= limit:
        return list(lines)
    return [*lines[: limit - 1], f"and {len(lines) - limit + 1} more lines, in diagnosis.json"]


def heading(finding: Mapping[str, Any]) -> str:
    """A finding's title and where it was seen."""
    return f"{'Unknown fault: ' if finding['unknown'] else ''}{finding['title']} ({finding['where']})"


def sureness(finding: Mapping[str, Any]) -> str:
    """How sure it is, and its number in the catalogue of faults."""
    return ", ".join(word for word in (finding["sure"], finding["fault"], finding["id"]) if word)


def avoided(finding: Mapping[str, Any]) -> str:
    """The remedy to avoid, after the words "do not"; empty where there is none."""
    text: str = finding["avoid"]
    if text.startswith("Nothing"):
        return ""
    return text[len("Do not ") :] if text.startswith("Do not ") else text


def explained(finding: Mapping[str, Any]) -> list[str]:
    """The consequences, those of one kind together: ``a replica lost its primary (redis2, redis3)``."""
    places: dict[str, list[str]] = {}
    for consequence in finding["consequences"]:
        places.setdefault(consequence["title"], []).append(consequence["where"])
    return [f"{lower(name)} ({names(list(dict.fromkeys(where)))})" for name, where in places.items()]


def steps(plan: Mapping[str, Any]) -> list[str]:
    """What recover.yml would do now, step by step."""
    return [action_text(action) for action in plan["actions"]]


def action_text(action: Mapping[str, Any]) -> str:
    """One step of a plan."""
    return f"{title(action['remedy'])} (on {action['host']}: {action['why']})"


def behind(server: Mapping[str, Any]) -> Optional[str]:
    """How far a replica's data is behind, in bytes and seconds."""
    if server["agreed"] or server["behind"] is None:
        return None
    lag = server["lag_s"]
    return f"{server['behind']:,} B behind" + (f", lag {lag} s" if lag is not None and lag >= 0 else "")


def looks(diagnosis: Mapping[str, Any], rows: int) -> tuple[list[Mapping[str, Any]], list[str], int]:
    """(what each host got from each server, the servers' names, how many hosts are left out).

    Where there are more than ``rows`` hosts, those come first that were not answered by everybody.
    """
    found: list[Mapping[str, Any]] = diagnosis["parties"]["looks"]
    servers = [server["name"] for server in diagnosis["parties"]["servers"]]
    if len(found) > rows:
        found = sorted(found, key=lambda row: not any(row["sees"].values()))
    return list(found[:rows]), servers, max(0, len(found) - rows)
