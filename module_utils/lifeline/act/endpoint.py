# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An HAProxy of our own on an application host: its files, its unit, and whether what runs is what is on disk.

The user's own HAProxy (/etc/haproxy, haproxy.service) is never touched.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from typing import Any, Sequence

from ..common import commands, ownership
from ..common.commands import GONE, READY
from ..common.haproxy_socket import admin, say
from ..common.waiting import until
from ..errors import LifelineError
from . import files

LOAD_SECONDS = 5.0


def resp(*requests: Sequence[str]) -> str:
    """Redis requests as they go over the wire, in hexadecimal, so that no password needs quoting for HAProxy.

    Lengths count bytes, not characters: ``resp(["AUTH", "observer", "pässword"])``.
    """
    wire = b""
    for words in requests:
        wire += b"*%d\r\n" % len(words)
        for word in words:
            data = str(word).encode("utf-8")
            wire += b"$%d\r\n%s\r\n" % (len(data), data)
    return wire.hex()


def servers(nodes: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """``[{name, host, port}]`` as ``[{name, address}]`` with names that HAProxy accepts, each once."""
    result: list[dict[str, str]] = []
    taken: set[str] = set()
    for node in nodes:
        plain = name = re.sub(r"[^A-Za-z0-9_.-]", "_", str(node["name"]))
        while name in taken:
            name = f"{plain}_{len(taken)}"
        taken.add(name)
        host = f"[{node['host']}]" if ":" in str(node["host"]) else node["host"]
        result.append({"name": name, "address": f"{host}:{node['port']}", "node": str(node["name"])})
    return result


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Bring files, unit and running process to their wanted state. Returns changed, installed, changes and diff."""
    name = params["name"]
    if params["state"] == "absent":
        return _remove(name, check)
    if params["only_owned"]:
        ownership.require("endpoint", "it is not brought back")
    installed = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin") is not None
    if not installed and not check:
        return {"changed": False, "installed": False, "changes": []}
    mark = identity(params)
    plan = [files.work(step, True) for step in _steps(params, mark)]
    written = [path for step in plan for path in step["changed_paths"]]
    changes = [f"write {path}" for path in written]
    diff = [part for step in plan for part in step["diff"]]
    unit = f"{name}.service"
    before = commands.unit_state(unit)
    if not installed:
        changes.insert(0, "install haproxy")
    elif check and f"/etc/{name}/ca.crt" not in written:  # without its CA it cannot be judged yet
        _refuse_invalid(params, mark)
    # A process that started while a file was wrong has the right mark and the wrong file.
    read_again = [path for path in written if path in (f"/etc/{name}/ca.crt", f"/etc/{name}/haproxy.cfg")]
    action = needed(before, unit_file(name) in written, running_mark(name) == mark and not read_again)
    if action:
        changes.append(f"{action} {unit}")
    if before != READY:
        diff.append(commands.text_diff(unit, before, READY))
    if not check:
        _carry_out(params, mark, unit_file(name) in written, not before.startswith("enabled"), action)
    return {"changed": bool(changes), "installed": installed, "changes": changes, "diff": diff}


def _carry_out(params: dict[str, Any], mark: str, unit_changed: bool, enable: bool, action: str) -> None:
    unit = f"{params['name']}.service"
    ca, config, service = _steps(params, mark)
    files.work(ca, False)
    _refuse_invalid(params, mark)
    files.work(config, False)
    files.work(service, False)
    if unit_changed:
        commands.run("systemctl", "daemon-reload")
    if enable:
        commands.run("systemctl", "enable", unit)
    if action not in ("", "enable"):
        _act(action, params, mark)


def needed(state: str, unit_changed: bool, current: bool) -> str:
    """What the unit needs: start, restart, reload, enable or nothing. ``current``: what runs is what is wanted."""
    if not state.endswith("active\n") or state.endswith("inactive\n"):
        return "start"
    if unit_changed:
        return "restart"
    if not current:
        return "reload"
    return "" if state == READY else "enable"


def identity(params: dict[str, Any]) -> str:
    """A mark of configuration and CA, which the running process shows on its socket."""
    return hashlib.sha256(f"{params['config']}\0{params['ca'] or ''}".encode()).hexdigest()[:16]


def running_mark(name: str) -> str:
    """The mark of the configuration that the running process has loaded, empty when it cannot be had."""
    found = re.search(r"^description: lifeline ([0-9a-f]+)", admin(name, "show info"), flags=re.MULTILINE)
    return found.group(1) if found else ""


def weigh(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Module redis_read_weight: set a server's share of the reads, until the process is replaced or told otherwise."""
    name, server = params["name"], re.sub(r"[^A-Za-z0-9_.-]", "_", params["server"])
    try:
        answer = say(name, f"get weight replicas/{server}")
        if "No such" in answer:
            return {"changed": False, "served": False, "before": None}
        before = int(answer.split()[0])
        changed = before != params["weight"]
        refusal = say(name, f"set weight replicas/{server} {params['weight']}").strip() if changed and not check else ""
    except (OSError, ValueError, IndexError) as error:
        raise LifelineError(
            f"The endpoint {name} on this host does not say its weights ({error}): is {name}.service running?"
        ) from error
    if refusal:
        raise LifelineError(f"The endpoint {name} refuses weight {params['weight']} for {server}: {refusal}.")
    return {"changed": changed, "served": True, "before": before}


def unit_file(name: str) -> str:
    """Where the unit lies."""
    return f"/etc/systemd/system/{name}.service"


def _steps(params: dict[str, Any], mark: str) -> list[dict[str, Any]]:
    """Calls of ``files.work``: the CA, the configuration, the unit."""
    directory = f"/etc/{params['name']}"
    owned = {"owner": "root", "group": "haproxy"}
    ca = {"path": f"{directory}/ca.crt", "mode": "0644"}
    config = {
        "path": f"{directory}/haproxy.cfg",
        "content": _marked(params, mark),
        "mode": "0640",
        **owned,
    }
    return [
        {
            "files": [
                {"path": directory, "state": "directory", "mode": "0750", **owned},
                {**ca, "content": params["ca"].rstrip() + "\n", "owner": "root", "group": "root"}
                if params["ca"]
                else {**ca, "state": "absent"},
            ]
        },
        {"secret_files": [config]},
        {
            "files": [
                {"path": unit_file(params["name"]), "content": params["unit"], "mode": "0644"},
                *ownership.entries(["endpoint"]),
            ]
        },
    ]


def _marked(params: dict[str, Any], mark: str) -> str:
    return f"{params['config']}\nglobal\n    description lifeline {mark}\n"


def _refuse_invalid(params: dict[str, Any], mark: str) -> None:
    """Raise LifelineError with HAProxy's complaint, less anything that could be the password (it is hexadecimal)."""
    done = commands.call("/usr/sbin/haproxy", "-c", "-f", "/dev/stdin", text=_marked(params, mark))
    if done.returncode:
        alerts = [line.partition(" : ")[2] for line in done.stderr.splitlines() if line.startswith("[ALERT]")]
        complaint = "; ".join(line for line in alerts if "found in configuration" not in line) or commands.said(done)
        raise LifelineError(
            "redis_endpoint: HAProxy refuses the new configuration, the old one is still in place. It says: "
            + re.sub(r"[0-9a-fA-F]{12,}", "(hidden)", complaint).replace("/dev/stdin", "haproxy.cfg")
        )


def _act(action: str, params: dict[str, Any], mark: str) -> None:
    """Start, restart or reload, and wait until what runs is what is wanted: a failed reload keeps the old process."""
    unit = f"{params['name']}.service"
    if commands.call("systemctl", action, unit).returncode == 0 and _loads(params["name"], mark, LOAD_SECONDS):
        return
    journal = commands.call("journalctl", "-q", "-n", "8", "-o", "cat", "-u", unit).stdout.strip()
    raise LifelineError(
        f"redis_endpoint: `systemctl {action} {unit}` did not bring up the new configuration. "
        f"Does another program use its address? The journal's last words: {journal or 'none'}",
        changed=True,
    )


def _loads(name: str, mark: str, seconds: float) -> bool:
    """Whether the process shows this mark within so many seconds."""
    return until(lambda: running_mark(name) == mark, seconds)


def _remove(name: str, check: bool) -> dict[str, Any]:
    """Take away unit, process and files, whichever are there."""
    unit = f"{name}.service"
    paths = [f"/etc/{name}/haproxy.cfg", f"/etc/{name}/ca.crt", f"/etc/{name}", unit_file(name)]
    gone = {
        "secret_files": [{"path": path, "state": "absent"} for path in paths],
        "files": ownership.entries(["endpoint"], "absent"),
    }
    plan = files.work(gone, True)
    changes = [f"remove {path}" for path in plan["changed_paths"]]
    diff = plan["diff"]
    state = commands.unit_state(unit)
    if state != GONE:
        changes.append(f"stop and disable {unit}")
        diff.append(commands.text_diff(unit, state, GONE))
    if not check:
        if state != GONE:
            commands.run("systemctl", "disable", "--now", unit)
        files.work(gone, False)
        if unit_file(name) in plan["changed_paths"]:
            commands.remove_unit(unit)
    return {"changed": bool(changes), "installed": True, "changes": changes, "diff": diff}
