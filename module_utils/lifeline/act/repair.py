# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small repairs on a running server: end what blocks it, save its data again or anew, hang up on who is not heard.

The module redis_repair.
"""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial
from typing import Any, Callable, Mapping

from ..common.client import CONNECTION_ERRORS, Credentials, Endpoint, connect, reason
from ..common.waiting import until
from ..errors import LifelineError
from ..formats.persistence import RUNNING, aof_rewrite
from ..observe.files import append_only, parse_config
from .acting import config_of_server

# A connection that is younger may be about to log in, in seconds.
HANDSHAKE_S = 2

# Replicas acknowledge once a second: one that said nothing for so many is not heard.
SILENT_S = 5


def work(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The module ``redis_repair``; see its documentation. Raises LifelineError when the server cannot be repaired."""
    endpoint, credentials = Endpoint.from_params(dict(params)), Credentials.from_params(dict(params))
    jobs: dict[str, Callable[[Any, Endpoint, float, bool], dict[str, Any]]] = {
        "kill_script": _kill_script,
        "save": _save,
        "rewrite_aof": _rewrite_aof,
        "hang_up": _hang_up,
        "remember": _remember,
        "relink": partial(_relink, credentials=credentials),
    }
    job = jobs[params["what"]]
    try:
        with closing(connect(endpoint, credentials)) as client:
            return job(client, endpoint, time.monotonic() + params["timeout"], check)
    except CONNECTION_ERRORS as error:
        if params["allow_down"] and reason(error).split(":")[0] in ("refused", "error", "timeout", "loading"):
            return {"changed": False, "commands": []}
        raise LifelineError(
            f"Redis at {endpoint} could not be repaired ({params['what']}): {reason(error)}; see diagnose.yml."
        ) from error


def _is_busy(client: Any) -> bool:
    try:
        client.ping()
    except CONNECTION_ERRORS as error:
        if reason(error).startswith("busy"):
            return True
        raise
    return False


def _kill_script(client: Any, endpoint: Endpoint, deadline: float, check: bool) -> dict[str, Any]:
    """A script that has written cannot be killed, and that is the answer then; a function is killed alike."""
    if not _is_busy(client):
        return {"changed": False, "commands": []}
    if check:
        return {"changed": True, "commands": ["SCRIPT KILL"]}
    commands = []
    for words in (("SCRIPT", "KILL"), ("FUNCTION", "KILL")):
        commands.append(" ".join(words))
        try:
            client.execute_command(*words)
            break
        except CONNECTION_ERRORS as error:
            if "UNKILLABLE" in str(error):
                raise LifelineError(
                    f"The script that blocks {endpoint} has written already, so it cannot be killed without losing "
                    "what is not saved: wait for its end, or let Sentinel fail over.",
                    commands=commands,
                ) from error
            if "NOTBUSY" not in str(error) and "unknown" not in str(error).lower():
                raise
    if not until(lambda: not _is_busy(client), deadline - time.monotonic()):
        raise LifelineError(f"{endpoint} is still blocked by a script: find its caller in the log.", commands=commands)
    return {"changed": True, "commands": commands}


def _hang_up(client: Any, endpoint: Endpoint, deadline: float, check: bool) -> dict[str, Any]:
    """Close connections whose login was refused.

    Sentinel logs in once a connection, and takes the answer NOAUTH for a sign of life: with the right password back on
    the server it stays shut out until somebody hangs up (measured on Redis 7.0.15).
    """
    if "off" not in client.acl_getuser("default")["flags"]:
        return {"changed": False, "commands": []}  # then user default is nobody who failed to log in
    shut_out = [
        row["id"] for row in client.client_list() if row.get("user") == "default" and int(row["age"]) >= HANDSHAKE_S
    ]
    commands = [f"CLIENT KILL ID {number}" for number in shut_out]
    if not check:
        for number in shut_out:
            client.execute_command("CLIENT", "KILL", "ID", number)
    return {"changed": bool(commands), "commands": commands}


def _relink(client: Any, endpoint: Endpoint, deadline: float, check: bool, credentials: Credentials) -> dict[str, Any]:
    """Close the link of a replica whose primary does not hear it: it comes back at once and goes on where it was.

    After a gap in the network TCP itself waits, twice as long each time, before it sends again. It is closed on the
    replica, since what the primary says on that connection may not arrive (measured: 38 s until the replica noticed).
    One that gets a copy is left alone, and so is one that the backlog does not reach back to: it would copy everything.
    """
    mine = client.info("replication")
    if mine["role"] != "slave" or mine["master_link_status"] != "up":
        return {"changed": False, "commands": []}
    primary = Endpoint(mine["master_host"], int(mine["master_port"]))
    with closing(connect(primary, credentials)) as other:
        info = other.info("replication")
        lags = _lags(info, endpoint)
        if not lags or min(lags) < SILENT_S:
            return {"changed": False, "commands": []}
        if int(mine["slave_repl_offset"]) + 1 < int(info["repl_backlog_first_byte_offset"]):
            raise LifelineError(
                f"{endpoint} is so far behind {primary} that a new link would cost a full copy, so its link was left: "
                "look at its processor, disk and network; it catches up, or copies everything when it links again."
            )
        commands = ["CLIENT KILL TYPE master"]
        if check:
            return {"changed": True, "commands": commands}
        client.execute_command("CLIENT", "KILL", "TYPE", "master")

        def heard() -> bool:
            return any(lag < SILENT_S for lag in _lags(other.info("replication"), endpoint))

        if not until(heard, deadline - time.monotonic()):
            raise LifelineError(
                f"{endpoint} did not come back to {primary} after its link was closed: see its log, and the network "
                "between the two hosts.",
                commands=commands,
            )
    return {"changed": True, "commands": commands}


def _lags(info: Mapping[str, Any], replica: Endpoint) -> list[int]:
    """Seconds since a replica was heard on each link that its primary's INFO lists for it; a dead one stays a while."""
    rows = [row for name, row in info.items() if name[:5] == "slave" and name[5:].isdigit()]
    mine = [row for row in rows if (row["ip"], int(row["port"])) == (replica.host, replica.port)]
    return [int(row["lag"]) for row in mine if row["state"] == "online"]


def _save(client: Any, endpoint: Endpoint, deadline: float, check: bool) -> dict[str, Any]:
    """BGSAVE, and BGREWRITEAOF where the append-only file is behind, when the last one failed."""
    commands = []
    info = client.info("persistence")
    if info.get("rdb_last_bgsave_status") != "ok":
        commands.append("BGSAVE SCHEDULE")
    if int(info.get("aof_enabled", 0)) and info.get("aof_last_bgrewrite_status") != "ok":
        commands.append("BGREWRITEAOF")
    if check or not commands:
        return {"changed": bool(commands), "commands": commands}
    for command in commands:
        client.execute_command(*command.split())

    def saved() -> bool:
        info.update(client.info("persistence"))
        return not int(info["rdb_bgsave_in_progress"]) and not int(info.get("aof_rewrite_in_progress", 0))

    until(saved, deadline - time.monotonic())
    failed = [name for name in ("rdb_last_bgsave_status", "aof_last_bgrewrite_status") if info.get(name, "ok") != "ok"]
    if failed:
        raise LifelineError(
            f"{endpoint} can still not save its data ({', '.join(failed)}): see its log, and make room on its disk.",
            commands=commands,
        )
    return {"changed": True, "commands": commands}


def _rewrite_aof(client: Any, endpoint: Endpoint, deadline: float, check: bool) -> dict[str, Any]:
    """BGREWRITEAOF where a part of the append-only file is gone from the disk; all of it is still in memory."""
    config = client.config_get("*")
    folder = f"{config['dir']}/{config.get('appenddirname')}"  # none before Redis 7, which has no manifest to lose
    if config["appendonly"] != "yes" or "appenddirname" not in config or _whole(folder, config["appendfilename"]):
        return {"changed": False, "commands": []}
    commands = ["BGREWRITEAOF"]
    if check:
        return {"changed": True, "commands": commands}
    client.execute_command("BGREWRITEAOF")

    until(lambda: aof_rewrite(client.info("persistence")) != RUNNING, deadline - time.monotonic())
    if not _whole(folder, config["appendfilename"]):
        raise LifelineError(
            f"{endpoint} did not write a whole append-only file in {folder}: see its log; do not restart it.",
            commands=commands,
        )
    return {"changed": True, "commands": commands}


def _remember(client: Any, endpoint: Endpoint, deadline: float, check: bool) -> dict[str, Any]:
    """CONFIG REWRITE where the file names another primary than the server has: it would start in its old role."""
    info = client.info()
    written = parse_config(config_of_server(str(info.get("config_file") or "")))
    said = written.get("replicaof") or written.get("slaveof")
    follows = [str(info["master_host"]), str(info["master_port"])] if info["role"] == "slave" else None
    if said == follows:
        return {"changed": False, "commands": []}
    if not check:
        client.execute_command("CONFIG", "REWRITE")
    return {"changed": True, "commands": ["CONFIG REWRITE"]}


def _whole(folder: str, name: str) -> bool:
    found = append_only(folder, name)
    return bool(found and found["manifest"] and not found["missing"])
