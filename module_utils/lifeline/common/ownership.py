# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Lifeline made on a host, by the marks that it leaves there: ``/etc/lifeline/owned/THING``.

Whoever makes a thing writes its mark with it, and takes it away with it. Recovery rewrites a thing only where the mark
says that it is Lifeline's. Only root's word counts: a mark that another account could have written is none.
"""

from __future__ import annotations

import os
import stat
from typing import Any, Callable, Mapping, Sequence

from ..errors import LifelineError

FOLDER = "/etc/lifeline/owned"

# What there may be a mark of, and the role that makes it.
THINGS = {
    "server": "redis_server",
    "sentinel": "redis_sentinel",
    "firewall": "redis_firewall",
    "endpoint": "redis_endpoint",
    "units": "rq_services",
    "acl": "redis_server and redis_sentinel",
    "certificates": "redis_server and redis_sentinel",
}


def entries(things: Sequence[str], state: str = "file") -> list[dict[str, Any]]:
    """The marks of some things as ``files.work`` takes them; ``state`` absent takes them away.

    They say the same on every run and for every instance on a host, so that a second run changes nothing.
    """
    root = {"owner": "root", "group": "root"}
    if state == "absent":
        return [{"path": path_of(thing), "state": "absent"} for thing in things]
    folders = [
        {"path": path, "state": "directory", "mode": "0755", **root} for path in (os.path.dirname(FOLDER), FOLDER)
    ]
    return folders + [{"path": path_of(thing), "content": _text(thing), "mode": "0644", **root} for thing in things]


def _text(thing: str) -> str:
    return f"Managed by Ansible (role {THINGS[thing]}): it made this host's {thing}, and may restore it.\n"


def path_of(thing: str) -> str:
    """Where a thing's mark lies."""
    return f"{FOLDER}/{thing}"


def owned(root: str = "/") -> list[str]:
    """The things that carry a mark which only root can have left."""
    folder = os.path.join(root, FOLDER.lstrip("/"))
    if not all(_roots(path, stat.S_ISDIR) for path in (os.path.dirname(folder), folder)):
        return []
    return [thing for thing in THINGS if _roots(os.path.join(folder, thing), stat.S_ISREG)]


def require(thing: str, what: str) -> None:
    """Raises LifelineError where a thing is not Lifeline's on this host."""
    if thing not in owned():
        raise LifelineError(
            f"Lifeline did not set up the {thing} of this host ({path_of(thing)} is missing), so {what}: "
            "do that by hand, or run playbooks/provision.yml if Lifeline is to manage this host."
        )


def _roots(path: str, is_kind: Callable[[int], bool]) -> bool:
    """Whether a path is of a kind, no link, owned by root, and writable by nobody else."""
    try:
        state = os.lstat(path)
    except OSError:
        return False
    return is_kind(state.st_mode) and state.st_uid == 0 and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def said(evidence: Mapping[str, Any]) -> list[str]:
    """What a host's evidence says that Lifeline made there. Evidence that does not say proves nothing."""
    named = evidence.get("owned")
    return [thing for thing in THINGS if isinstance(named, (list, tuple)) and thing in named]
