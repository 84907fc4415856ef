# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the user that a server runs as may use the files and folders that it needs, told from owners and modes."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from typing import Any, Iterator, Mapping, NamedTuple, Optional

READ, WRITE, USE = 4, 2, 1

# What a server does with each of its paths.
RIGHTS = {"read": READ, "append": WRITE, "keep": READ | WRITE | USE}


class Identity(NamedTuple):
    """A user, all the groups that it is in, and the one that it starts with."""

    uid: int
    gids: frozenset[int]
    gid: int = 0


def identity(user: str, group: str) -> Optional[Identity]:
    """The user of a unit, by name or number; None where this host does not know it."""
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        main = grp.getgrnam(group).gr_gid if group and not group.isdigit() else int(group or entry.pw_gid)
        return Identity(entry.pw_uid, frozenset({main, *os.getgrouplist(entry.pw_name, entry.pw_gid)}), main)
    except (KeyError, ValueError, OSError):
        return None


def look(wanted: Mapping[str, str], who: Identity) -> dict[str, Any]:
    """Those paths that the user may not use as it needs to: ``{path: {need, blocked_by, owner, mode, error}}``.

    ``wanted`` says what is done with each path: read, append, or keep (a folder in which files come and go).
    ``blocked_by`` is the path itself or the folder above it that is in the way, with its owner and mode; where it is
    not there, ``error`` says so instead.
    """
    checked = {path: _check(path, RIGHTS[need], who) for path, need in wanted.items() if path.startswith("/")}
    return {path: {"need": wanted[path], **found} for path, found in checked.items() if found is not None}


def _check(path: str, right: int, who: Identity) -> Optional[dict[str, Any]]:
    for step, needed in _steps(path, right):
        try:
            state = os.stat(step)
        except OSError as error:
            return {"blocked_by": step, "owner": "", "mode": "", "error": error.strerror or str(error)}
        if not allowed(state, needed, who) and not _has_acl(step):
            owner = f"{_user(state.st_uid)}:{_group(state.st_gid)}"
            return {"blocked_by": step, "owner": owner, "mode": f"{stat.S_IMODE(state.st_mode):04o}", "error": ""}
    return None


def _steps(path: str, right: int) -> Iterator[tuple[str, int]]:
    """Every folder on the way, which has to be passed through, then the path itself."""
    parts = [part for part in path.split("/") if part]
    for depth in range(1, len(parts)):
        yield "/" + "/".join(parts[:depth]), USE
    yield path, right


def allowed(state: os.stat_result, right: int, who: Identity) -> bool:
    """Whether owner, group and mode let somebody; the kernel's other guards are not looked at."""
    if who.uid == 0:
        return True
    if state.st_uid == who.uid:
        granted = state.st_mode >> 6
    elif state.st_gid in who.gids:
        granted = state.st_mode >> 3
    else:
        granted = state.st_mode
    return granted & right == right


def _has_acl(path: str) -> bool:
    """Whether an access list says more than the mode; then nothing is claimed about the path."""
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except OSError:
        return False


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
