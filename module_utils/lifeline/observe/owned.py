# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Lifeline made on a host, by the marks that it left there: ``/etc/lifeline/owned/THING.json``.

Recovery restores a thing only where its mark says that it was Lifeline's. Only root's word counts: a mark that another
account could have written is none.
"""

from __future__ import annotations

import os
import stat
from typing import Callable

FOLDER = "/etc/lifeline/owned"

# What there may be a mark of, in the order in which it is made.
THINGS = ("firewall", "server", "sentinel", "endpoint", "units", "acl", "certificates")


def path_of(thing: str) -> str:
    """Where a thing's mark lies."""
    return f"{FOLDER}/{thing}.json"


def things(root: str = "/") -> list[str]:
    """The things that carry a mark that only root can have left."""
    folder = os.path.join(root, FOLDER.lstrip("/"))
    if not all(_roots(path, stat.S_ISDIR) for path in (os.path.dirname(folder), folder)):
        return []
    return [thing for thing in THINGS if _roots(os.path.join(folder, f"{thing}.json"), stat.S_ISREG)]


def _roots(path: str, is_kind: Callable[[int], bool]) -> bool:
    """Whether a path is of a kind, no link, owned by root, and writable by nobody else."""
    try:
        state = os.lstat(path)
    except OSError:
        return False
    return is_kind(state.st_mode) and state.st_uid == 0 and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
