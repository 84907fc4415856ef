# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Evidence as it comes in: brought to the shape that topology and causes rely on, or left out.

A bundle is what ``diagnose.yml`` saves and reads again: ``{version, kind, lifeline, estates: [{service, quorum, nodes,
sentinels, applications, unasked, silent, evidence: [...]}]}``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Collection, Mapping, Sequence

from ..common.facts import Facts, clean_text, plain
from ..common.version import VERSION
from ..errors import LifelineError

BUNDLE_KIND = "lifeline-evidence"
BUNDLE_VERSION = 1
BUNDLE_NAME = "evidence.json"

# Bytes; a host's evidence has some 20,000.
BUNDLE_LIMIT = 1 << 29

# What a bundle holds of an estate, as ``redis_diagnose`` takes it.
ESTATE = ("service", "quorum", "nodes", "sentinels", "applications", "unasked", "silent", "evidence")

_INT, _BOOL, _TEXT, _ANY = 0, False, "", None

# What topology.py indexes without asking; {"*": shape} is a dict of any names, [shape] a list.
_ADDRESS = {"host": _TEXT, "port": _INT}
_LINK = {**_ADDRESS, "link_up": _BOOL, "link_down_s": _INT, "last_io_s": _INT, "syncing": _BOOL}
_NODE = {
    "reachable": _BOOL,
    "error": _TEXT,
    "role": _TEXT,
    "loading": _BOOL,
    "cluster": _BOOL,
    "replid": _TEXT,
    "replid2": _TEXT,
    "offset": _INT,
    "second_offset": _INT,
    "priority": _INT,
    "keys": _INT,
    "primary": _LINK,
    "replicas": [_ADDRESS],
}
_SENTINEL = {
    "reachable": _BOOL,
    "error": _TEXT,
    "known": _BOOL,
    "tilt": _BOOL,
    "down": _BOOL,
    "failover": _BOOL,
    "quorum_ok": _BOOL,
    "quorum_text": _TEXT,
    "down_after_ms": _INT,
    "down_ms": _INT,
    "last_ok_ms": _INT,
    "primary": _ADDRESS,
    "replicas": [{**_ADDRESS, "link_up": _BOOL}],
}
_UNIT = {"load": _TEXT, "active": _TEXT, "sub": _TEXT, "result": _TEXT, "pid": _INT, "since": _INT, "restarts": _INT}
_FILES = {
    "config": _TEXT,
    "dir": _TEXT,
    "aof_configured": _BOOL,
    "rdb_configured": _BOOL,
    "rdb": {"size": _INT, "mtime": _INT},
    "aof": {"size": _INT, "manifest": _BOOL},
}
_PORT = {"number": _INT, "state": _TEXT, "pid": _INT, "name": _TEXT, "exe": _TEXT, "unit": _TEXT}
_HOLDINGS = {
    "complete": _BOOL,
    "servers": [
        {"pid": _INT, "name": _TEXT, "exe": _TEXT, "unit": _TEXT, "port": _INT, "config": _TEXT, "dir": _TEXT},
    ],
    "data": [{"path": _TEXT, "kind": _TEXT, "size": _INT, "age_s": _INT, "empty": _BOOL}],
}
_SHAPE: dict[str, Any] = {
    "host": _TEXT,
    "service": _TEXT,
    "time": _INT,
    "library": _BOOL,
    "managed": _BOOL,
    "nodes": {"*": _NODE},
    "sentinels": {"*": _SENTINEL},
    "units": {"*": _UNIT},
    "files": _FILES,
    "port": _PORT,
    "sentinel_port": _PORT,
    "holdings": _HOLDINGS,
}


def clean(evidence: Any) -> list[dict[str, Any]]:
    """Those documents that name their host and estate, with every value of a known name in its known type.

    A value of the wrong type is dropped, as if the server had not said it. Unknown names stay; causes read those
    through ``Facts``. Of two documents of one host and estate the first counts.
    """
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for document in evidence if isinstance(evidence, (list, tuple)) else ():
        if not isinstance(document, dict):
            continue
        host, service = document.get("host"), document.get("service")
        if isinstance(host, str) and isinstance(service, str) and host and service:
            shaped = _shaped(document, _SHAPE)
            kept.setdefault((shaped["host"], shaped["service"]), {"time": 0, "library": False, **shaped})
    return list(kept.values())


def _shaped(document: Mapping[Any, Any], shape: Mapping[str, Any]) -> dict[str, Any]:
    every = shape.get("*")
    result: dict[str, Any] = {}
    for key, value in document.items():
        name = clean_text(str(key))
        wanted = shape.get(name, every)
        if name not in shape and every is None:
            result[name] = plain(value)
            continue
        fits, kept = _fit(value, wanted)
        if fits and not (kept is None and every is not None):
            result[name] = kept
    return result


def _fit(value: Any, wanted: Any) -> tuple[bool, Any]:
    """(whether it may stay, as what)."""
    if isinstance(wanted, dict):
        return (True, _shaped(value, wanted)) if isinstance(value, dict) else (value is None, None)
    if isinstance(wanted, list):
        rows = [_shaped(item, wanted[0]) for item in value if isinstance(item, dict)] if _is_list(value) else []
        return _is_list(value), rows
    if wanted is _BOOL:
        return isinstance(value, bool), value
    if isinstance(wanted, str):
        return (True, clean_text(value)) if isinstance(value, str) else (value is None, None)
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**63
    return number, (value if isinstance(value, int) else float(value)) if number else None


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def stamp(host: str, looked: str) -> dict[str, str]:
    """What the control node notes of an answer: whose it is, and of which of its looks."""
    return {"host": host, "round": looked}


def registered(
    hostvars: Any, members: Sequence[str], present: Collection[str], variable: str, service: str, looked: str
) -> dict[str, Any]:
    """``seen`` of what the members registered in ``variable``; ``present``: hosts that are still in the play.

    ``hostvars`` are taken as they are: nothing that a host said is a template.
    """
    raw = getattr(hostvars, "raw_get", None) or hostvars.__getitem__
    results = {host: raw(host).get(variable) for host in members if host in hostvars}
    found = {host: result for host, result in results.items() if isinstance(result, dict)}
    return seen(found, service, looked, [host for host in found if host not in present])


def seen(
    results: Mapping[str, Mapping[str, Any]], service: str, looked: str, gone: Collection[str] = ()
) -> dict[str, Any]:
    """``{evidence, silent}`` from redis_health's result of each host: what they say, and why others say nothing.

    A document counts for the host that it came from, in the look that is asked for, and for no other. ``gone``: hosts
    that are no longer asked; what is left of them is of an earlier look.
    """
    silent = {host: _silence(host, result, service, looked, host in gone) for host, result in results.items()}
    return {
        "evidence": [result["evidence"] for host, result in results.items() if not silent[host]],
        "silent": {host: why for host, why in silent.items() if why},
    }


def _silence(host: str, result: Mapping[str, Any], service: str, looked: str, gone: bool) -> str:
    """Why a host's result is no evidence of this look; empty where it is."""
    document = result.get("evidence")
    if document is None:
        return _reason(result) or "it gave no evidence"
    if gone or result.get("look") != stamp(host, looked):
        return "it gave no evidence in this look: it failed or was left out before"
    if not isinstance(document, dict):
        return "its evidence is not a document"
    for word, wanted in (("host", host), ("service", service)):
        said = str(document.get(word))
        if said != wanted:
            return f"its evidence speaks of {word} {clean_text(said)[:60]}, so it was left out: look at that host"
    return ""


def _reason(result: Mapping[str, Any]) -> str:
    """What ssh or the module itself said, without Ansible's words around it."""
    said = str(result.get("msg", "")).rpartition("over ssh: ")[2]
    for words in ("Task failed: ", "Module failed: "):
        said = said[len(words) :] if said.startswith(words) else said
    return said


def bundle(estates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What ``diagnose.yml`` saves. The documents hold no secret, so neither does the bundle."""
    return {
        "kind": BUNDLE_KIND,
        "version": BUNDLE_VERSION,
        "lifeline": VERSION,
        "estates": [dict(estate) for estate in estates],
    }


def estates_of(saved: Any, where: str) -> list[dict[str, Any]]:
    """The estates of a saved bundle. Raises LifelineError when ``where`` holds none."""
    if not isinstance(saved, dict) or saved.get("kind") != BUNDLE_KIND:
        raise LifelineError(
            f"{where} is no evidence bundle of Lifeline: give the evidence.json that diagnose.yml wrote."
        )
    if saved.get("version") != BUNDLE_VERSION:
        wrote = f"Lifeline {str(saved['lifeline'])[:20]}" if saved.get("lifeline") else "the Lifeline that wrote it"
        raise LifelineError(
            f"{where} is an evidence bundle of version {str(saved.get('version'))[:20]}, and this Lifeline reads "
            f"version {BUNDLE_VERSION}: diagnose it with {wrote}."
        )
    rows = saved.get("estates")
    entries: Sequence[Any] = rows if isinstance(rows, (list, tuple)) else ()
    estates = [_estate(entry) for entry in entries if isinstance(entry, dict)]
    if not estates:
        raise LifelineError(f"{where} holds no estate, so there is nothing to diagnose: save the evidence again.")
    return estates


def load(path: str) -> list[dict[str, Any]]:
    """The estates of a saved bundle, or of all bundles in a folder and in its folders.

    Raises LifelineError, one sentence, when there is none that can be read.
    """
    file = Path(path)
    if not file.is_dir():
        return _load(file)
    found = sorted({*file.glob(BUNDLE_NAME), *file.glob(f"*/{BUNDLE_NAME}")})
    if not found:
        raise LifelineError(f"No {BUNDLE_NAME} lies in {path} nor in its folders: name the file itself.")
    return [estate for entry in found for estate in _load(entry)]


def _load(file: Path) -> list[dict[str, Any]]:
    try:
        size = file.stat().st_size
        if size > BUNDLE_LIMIT:
            raise LifelineError(f"{file} has {size} bytes, more than any evidence bundle: name the right file.")
        return estates_of(json.loads(file.read_text(encoding="utf-8")), str(file))
    except FileNotFoundError:
        raise LifelineError(
            f"{file} does not exist on the control node: give the {BUNDLE_NAME} that diagnose.yml wrote."
        ) from None
    except OSError as error:
        raise LifelineError(f"{file} cannot be read on the control node: {error.strerror}.") from None
    except RecursionError:
        raise LifelineError(f"{file} is nested too deep for an evidence bundle: name the right file.") from None
    except ValueError as error:
        raise LifelineError(
            f"{file} is no JSON ({clean_text(str(error))[:120]}): give the {BUNDLE_NAME} that diagnose.yml wrote."
        ) from None


def _estate(entry: Mapping[str, Any]) -> dict[str, Any]:
    evidence = entry.get("evidence")
    return {
        "service": clean_text(str(entry.get("service", ""))),
        "quorum": _fit(entry.get("quorum"), _INT)[1] or 0,
        "nodes": members(entry.get("nodes")),
        "sentinels": members(entry.get("sentinels")),
        "applications": Facts(entry).texts("applications"),
        "unasked": Facts(entry).texts("unasked"),
        "silent": {str(host): clean_text(str(why)) for host, why in Facts(entry).sub("silent").plain.items()},
        "evidence": list(evidence) if isinstance(evidence, (list, tuple)) else [],
    }


def members(rows: Any) -> list[dict[str, Any]]:
    """``[{name, host, port}]`` out of anything; rows that name no host and port are left out."""
    found = []
    for row in rows if _is_list(rows) else ():
        if not isinstance(row, dict) or not isinstance(row.get("host"), str):
            continue
        port = row.get("port")
        if isinstance(port, int) and not isinstance(port, bool) and 0 < port < 65536:
            found.append({"name": clean_text(str(row.get("name") or row["host"])), "host": row["host"], "port": port})
    return found
