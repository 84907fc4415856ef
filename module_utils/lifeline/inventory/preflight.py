# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why an estate is not provisioned: every role's reasons on every host, told before the first change on any of them.

Pure functions. What hosts said is foreign text; nobody is asked anything here.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional, Sequence

from ..common.facts import Facts, clean_text

FREE_TOPOLOGY = ("agreed", "empty")
RUNS = ("active", "activating")

# Names of files of data that one sentence tells.
MOST_SHOWN = 3


def platform_file(platform: Mapping[str, Any], flavour: str, shipped: Iterable[str]) -> str:
    """The one of the ``shipped`` files that describes a host's platform, by its name; empty where none does.

    What the host says is only compared: no path is ever made of it.
    """
    said = Facts(platform)
    wanted = f"{said.text('distribution')}-{said.text('release')}-{flavour}.yml"
    return next((name for name in shipped if name == wanted), "")


def host_problems(own: Mapping[str, Any]) -> list[str]:
    """Why a server's or sentinel's host is left as it is, one sentence each.

    ``own``: ``{host, estate, flavour, configures (whether files and units would be written), server, sentinel (whether
    it is one), evidence, topology, unit, sentinel_unit, distribution_unit, free_disk_mb, platform_file, found}``;
    ``found`` is ``{units, pristine, seeded, data, made}`` of the host as it was looked at; ``made``: the things whose
    own file shows that an earlier release made them.
    """
    said = Facts(own)
    problems = [_full_disk(said), _unclear(said), _unknown_platform(said)]
    if said.flag("configures", True):
        problems += _in_the_way(said)
    return [problem for problem in problems if problem]


def _in_the_way(said: Facts) -> list[str]:
    """What is there already and is not Lifeline's, or is somebody's work; empty texts for what is not."""
    return [
        *(_port(said, *row) for row in _ports(said)),
        *((_foreign_data(said), _foreign_unit(said), _down_with_data(said)) if said.flag("server") else ()),
        _masked_sentinel(said) if said.flag("sentinel") else "",
    ]


def _full_disk(own: Facts) -> str:
    least = own.count("free_disk_mb")
    full = [path for path, free in own.sub("evidence").numbers("disk") if free < least * 1048576]
    if not full:
        return ""
    return (
        f"less than redis_free_disk_mb = {least} MiB is free in {' and '.join(full)}. "
        "Free some space there, then run this again."
    )


def _unclear(own: Facts) -> str:
    topology = own.sub("topology")
    if topology.text("state") in FREE_TOPOLOGY:
        return ""
    reasons = "; ".join(topology.texts("reasons")) or topology.text("state", "nobody could look")
    return f"the estate is not in a state to be configured: {reasons}. Run recover.yml first, then this playbook again."


def _unknown_platform(own: Facts) -> str:
    if own.text("platform_file"):
        return ""
    platform = own.sub("evidence", "platform")
    name = f"{platform.text('distribution', 'an unknown system')[:40]} {platform.text('release')[:20]}".strip()
    return (
        f"it runs {name}, and role redis has no file that describes {own.text('flavour')} there. "
        "Choose another redis_flavour or release."
    )


def _ports(own: Facts) -> list[tuple[str, str, str, str]]:
    """(key of the evidence, variable, thing, unit) of the ports that this host's own members want."""
    rows = [
        ("server", "port", "redis_port", "unit"),
        ("sentinel", "sentinel_port", "redis_sentinel_port", "sentinel_unit"),
    ]
    return [(key, variable, thing, own.text(unit)) for thing, key, variable, unit in rows if own.flag(thing)]


def _port(own: Facts, key: str, variable: str, thing: str, unit: str) -> str:
    return port_problem(own.sub("evidence", key), variable, unit, is_ours(own, thing))


def is_ours(own: Facts, thing: str) -> bool:
    """Whether a thing on this host carries Lifeline's mark, or was made by a release that left none yet."""
    return thing in own.texts("evidence.owned") or thing in own.texts("found.made")


def port_problem(port: Facts, variable: str, unit: str, ours: bool) -> str:
    """Why a port cannot be used; empty where nobody holds it, or the unit that is ours does."""
    state, number = port.text("state"), port.count("number")
    if state == "free" or (state == "held" and ours and port.text("unit") == unit):
        return ""
    if state != "held" and not port.text("name"):
        return f"who holds port {number} ({variable}) cannot be told, so it is left alone. Run this with become: true."
    return (
        f"port {number} ({variable}) is held by {_holder(port)}, which Lifeline did not set up. "
        f"Stop and disable that, once its data is safe, or choose another {variable}; nothing was enabled beside it."
    )


def _holder(port: Facts) -> str:
    """The process that holds a port, as far as it can be told."""
    unit = port.text("unit")[:80]
    about = [f"process {port.count('pid')}" if port.count("pid") else "", f"unit {unit}" if unit else ""]
    told = ", ".join(word for word in about if word)
    return (port.text("name")[:40] or "a process that cannot be seen") + (f" ({told})" if told else "")


def _foreign_data(own: Facts) -> str:
    """Data of a server that Lifeline did not make; its own is told by ``_down_with_data``."""
    if is_ours(own, "server"):
        return ""
    holdings = own.sub("evidence", "holdings")
    rows = [row for row in holdings.rows("data") if not row.flag("empty")]
    if rows:
        shown = [f"{row.text('path')[:200]} ({_size(row.number('size'))})" for row in rows[:MOST_SHOWN]]
        more = f" and {len(rows) - MOST_SHOWN} more" if len(rows) > MOST_SHOWN else ""
        return (
            f"there is data of a server that Lifeline did not set up: {', '.join(shown)}{more}. "
            "Provisioning would start an empty server beside it. Move that data away once you know whose it is, "
            "then run this again."
        )
    if not holdings.flag("complete"):
        return (
            "not every folder that could hold a server's data could be looked at, so it is not known to be empty. "
            "Run this with become: true."
        )
    return ""


def _size(size: float) -> str:
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size:.0f} bytes"


def _foreign_unit(own: Facts) -> str:
    unit = own.text("distribution_unit")
    if not unit or own.sub("found", "units", unit).text("active") not in RUNS:
        return ""
    return (
        f"the distribution's own {unit} is running, and may hold data. "
        "Move its data away, stop and disable it, then run this again."
    )


def _down_with_data(own: Facts) -> str:
    """Whoever was set up by an earlier run and holds data was running before: its place may have gone to another."""
    unit, found = own.text("unit"), own.sub("found")
    state = found.sub("units", unit)
    running = state.text("active") in RUNS and state.text("sub") != "auto-restart"
    if running or not found.flag("seeded") or not (found.flag("data") or state.text("load") == "masked"):
        return ""
    what = "masked" if state.text("load") == "masked" else state.text("active", "not running")
    return (
        f"{unit} is {what}, with data from before. Starting it blindly could bring back old data. "
        "Run recover.yml first, then this playbook again."
    )


def _masked_sentinel(own: Facts) -> str:
    """Sentinel's file is still as packaged where an earlier run masked the unit and did not get further."""
    unit = own.text("sentinel_unit")
    if own.sub("found", "units", unit).text("load") != "masked" or own.flag("found.pristine"):
        return ""
    return f"{unit} is masked: someone may be working on it. Unmask it, then run this again."


def endpoint_problems(evidence: Mapping[str, Any], name: str) -> list[str]:
    """Why an application host gets no endpoint: another process holds one of its addresses."""
    unit = f"{name}.service"
    found = []
    for bind, port in Facts(evidence).named("binds"):
        if port.text("state") == "held" and port.text("unit") != unit:
            found.append(
                f"{bind} (redis_endpoint_bind) is held by {_holder(port)}. "
                "Stop and disable that, or choose another address for the endpoint."
            )
    return found


def refusal(said: Mapping[str, Any], active: Sequence[str], host: str) -> dict[str, Any]:
    """``{text, speaks}`` for a host: why its estate is refused (empty where it is not), and whether it says so.

    ``said``: by host ``{estate, intent, reasons, looked}``; sentences of ``intent`` name their host. ``active``: hosts
    that have not failed; one that was looked at and has failed since is a reason too. The first active host of an
    estate speaks for it.
    """
    estate = Facts(said).sub(host).text("estate")
    mine = {name: row for name, row in Facts(said).named() if row.text("estate") == estate}
    lines: list[str] = []
    shared: dict[str, list[str]] = {}
    for name, row in mine.items():
        reasons = row.texts("reasons")
        if row.flag("looked") and name not in active:
            reasons.append("it failed while it was looked at; see above")
        lines += row.texts("intent")
        for reason in reasons:
            shared.setdefault(reason, []).append(name)
    lines += [f"{', '.join(dict.fromkeys(names))}: {reason}" for reason, names in shared.items()]
    lines = list(dict.fromkeys(lines))
    reporting = next((name for name in active if name in mine), None)
    return {"text": _text(estate, lines), "speaks": bool(lines) and host == reporting}


def _text(estate: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    title = f"REFUSED: estate {clean_text(estate)} is left as it is. Nothing was changed on any of its hosts."
    return "\n".join([title, *(f"- {line}" for line in lines)])


def reasons_of(result: Optional[Mapping[str, Any]], wanted: str) -> list[str]:
    """Why a module that only looked has failed; nothing where its result holds what was ``wanted``."""
    said = Facts(result)
    if wanted in (result or {}) and not said.flag("failed"):
        return []
    return [said.text("msg", "it could not be looked at")]
