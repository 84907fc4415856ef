# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many files of a host in one go: compare, stage beside the target, validate, then rename.

Everything is staged and validated before the first file is replaced, so a refused file leaves all the old ones.
Nothing is ever written through a symbolic link, and no other name of a hard-linked file is touched.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import stat
import subprocess
from dataclasses import dataclass, field, replace
from typing import Any, Mapping, Optional

from ..common import atomic, ownership
from ..common.commands import bounded
from ..errors import LifelineError
from ..formats.redis_conf import checked, drift, edited

VALIDATE_SECONDS = 30
HIDDEN = "(secret content, not shown)\n"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
UNKNOWN_ID = -1  # the id of a user or group that does not exist yet; equal to nobody's


@dataclass(frozen=True)
class Wanted:
    """One entry of ``files`` or ``secret_files``. ``mode`` None keeps what is there."""

    path: str
    state: str = "file"
    content: bytes = field(default=b"", repr=False)
    owner: Optional[str] = None
    group: Optional[str] = None
    mode: Optional[int] = None
    force: bool = True
    validate: tuple[str, ...] = ()
    secret: bool = False
    settings: Optional[Mapping[str, str]] = None


@dataclass(frozen=True)
class Current:
    """What is at a path: ``kind`` is absent, file, directory, link or other. ``target`` is a link's."""

    kind: str = "absent"
    content: bytes = field(default=b"", repr=False)
    uid: int = 0
    gid: int = 0
    mode: int = 0
    target: str = ""


@dataclass(frozen=True)
class Change:
    """What to do at one path. ``action`` is create, replace, attributes or remove; ids and mode are the final ones."""

    wanted: Wanted
    current: Current
    action: str
    uid: int
    gid: int
    mode: int


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Bring all files to their wanted state. Returns changed, changed_paths and diff. Raises LifelineError."""
    if params.get("only_owned"):
        ownership.require(params["only_owned"], "its files are not written")
    wanted = read_wanted(params)
    changes: list[Change] = []
    removed: set[str] = set()
    for entry in wanted:
        current = inspect(entry.path, follow=entry.state == "directory")
        one = with_settings(entry, current)
        change = plan(one, current, _id("user", one.owner, check), _id("group", one.group, check))
        if change is None:
            continue
        if change.action == "remove":
            _require_empty(change, removed)
            removed.add(one.path)
        changes.append(change)
    if not check:
        apply(changes)
    return {
        "changed": bool(changes),
        "changed_paths": sorted(change.wanted.path for change in changes),
        "diff": [part for change in changes for part in diff(change)],
    }


def read_wanted(params: dict[str, Any]) -> list[Wanted]:
    """The module's options as Wanted, in the order given. Raises LifelineError for what cannot be meant."""
    result = []
    seen: set[str] = set()
    for key in ("files", "secret_files"):
        for entry in params.get(key) or []:
            path = os.path.normpath(entry["path"])
            if not os.path.isabs(path):
                raise LifelineError(f"config_files: {path!r} in {key} is not an absolute path: write it in full.")
            if path in seen:
                raise LifelineError(f"config_files: {path} is listed twice: keep one of the two entries.")
            seen.add(path)
            validate = tuple(entry.get("validate") or ())
            if validate and not any("%s" in word for word in validate):
                raise LifelineError(f"config_files: validate of {path} has no '%s', where the staged file's path goes.")
            result.append(
                Wanted(
                    path=path,
                    state=entry.get("state") or "file",
                    content=(entry.get("content") or "").encode("utf-8", "surrogateescape"),
                    owner=entry.get("owner"),
                    group=entry.get("group"),
                    mode=read_mode(path, entry.get("mode")),
                    force=entry.get("force", True),
                    validate=validate,
                    secret=key == "secret_files",
                    settings=None if entry.get("settings") is None else checked(entry["settings"]),
                )
            )
    return result


def with_settings(wanted: Wanted, current: Current) -> Wanted:
    """``wanted`` with the content that its settings make of the file that is there; lines that are right stay.

    Raises LifelineError when there is no file.
    """
    if wanted.settings is None:
        return wanted
    if current.kind != "file":
        raise LifelineError(f"config_files: there is no file {wanted.path} to change settings in: write it first.")
    text = current.content.decode("utf-8", "surrogateescape")
    return replace(wanted, content=edited(text, drift(text, wanted.settings)).encode("utf-8", "surrogateescape"))


def read_mode(path: str, text: Optional[str]) -> Optional[int]:
    """``"0640"`` as a number. An unquoted 0640 arrives as 416, so exactly four octal digits are asked for."""
    if text is None:
        return None
    if not re.fullmatch(r"[0-7]{4}", text):
        raise LifelineError(
            f"config_files: mode {text} of {path} is not four octal digits: write it in quotes, as in '0640'."
        )
    return int(text, 8)


def inspect(path: str, follow: bool = False) -> Current:
    """What is at ``path`` now. ``follow``: look through a link to a directory, if no other account can have made it."""
    try:
        with atomic.folder(os.path.dirname(path)) as place:
            name = os.path.basename(path)
            found = os.stat(name, dir_fd=place, follow_symlinks=False)
            kind, content = "other", b""
            if stat.S_ISLNK(found.st_mode):
                return _through(path, found, os.readlink(name, dir_fd=place), follow)
            if stat.S_ISDIR(found.st_mode):
                kind = "directory"
            elif stat.S_ISREG(found.st_mode):
                kind = "file"
                with open(os.open(name, _READ, dir_fd=place), "rb") as handle:
                    content = handle.read()
        return Current(kind, content, found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
    except (FileNotFoundError, NotADirectoryError):
        return Current()
    except OSError as error:
        raise LifelineError(
            f"config_files: cannot read {path}: {error.strerror}. Does the play have become: true?"
        ) from error


def _through(path: str, link: os.stat_result, target: str, follow: bool) -> Current:
    """A link, or the directory that it leads to where that may be followed."""
    with contextlib.suppress(OSError, LifelineError):
        if follow:
            with atomic.folder(path) as inside:
                found = os.fstat(inside)
            return Current("directory", b"", found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), target)
    return Current("link", uid=link.st_uid, gid=link.st_gid, target=target)


def plan(wanted: Wanted, current: Current, uid: Optional[int], gid: Optional[int]) -> Optional[Change]:
    """What has to be done, or None. ``uid``, ``gid``: the wanted ids; None keeps those of what is there.

    Raises LifelineError where the way is barred by something that must not be thrown away.
    """
    if wanted.state == "absent":
        if current.kind == "absent":
            return None
        return Change(wanted, current, "remove", current.uid, current.gid, current.mode)
    if current.kind not in ("absent", "link", wanted.state) or (current.kind == "link" and wanted.state == "directory"):
        found = f"a symbolic link to {current.target}" if current.kind == "link" else _KINDS[current.kind]
        raise LifelineError(
            f"config_files: {wanted.path} should be a {wanted.state}, but is {found}: look at it and move it away."
        )
    fresh = current.kind != wanted.state
    final_uid = uid if uid is not None else (os.geteuid() if fresh else current.uid)
    final_gid = gid if gid is not None else (os.getegid() if fresh else current.gid)
    mode = wanted.mode
    if mode is None and fresh:
        mode = 0o755 if wanted.state == "directory" else 0o600 if wanted.secret else 0o644
    elif mode is None:
        mode = current.mode
    if fresh:
        action = "create" if current.kind == "absent" else "replace"
    elif wanted.state == "file" and wanted.force and wanted.content != current.content:
        action = "replace"
    elif (final_uid, final_gid, mode) != (current.uid, current.gid, current.mode):
        action = "attributes"
    else:
        return None
    return Change(wanted, current, action, final_uid, final_gid, mode)


_KINDS = {"file": "a file", "directory": "a directory", "other": "a device, socket or pipe"}


def apply(changes: list[Change]) -> None:
    """Carry the changes out: directories first, then all files staged and validated, then renames and removals.

    Raises LifelineError with changed and changed_paths, which say what had been done by then.
    """
    done: list[str] = []
    try:
        with contextlib.ExitStack() as stack:
            for change in changes:
                if change.wanted.state == "directory":
                    _directory(change)
                    done.append(change.wanted.path)
            staged = _stage_all(changes, stack)
            for change in changes:
                if change.wanted.state != "directory":
                    _finish(change, staged)
                    done.append(change.wanted.path)
    except OSError as error:
        where = error.filename or "a file"
        raise LifelineError(
            f"config_files: cannot write {where}: {error.strerror}. Check its directory, free space and become: true.",
            changed=bool(done),
            changed_paths=sorted(done),
        ) from error
    except LifelineError as error:
        error.partial.update(changed=bool(done), changed_paths=sorted(done))
        raise


def diff(change: Change) -> list[dict[str, str]]:
    """Ansible's diff of one change: content, and beside it owner, group and mode where they change. Never a secret."""
    wanted, current = change.wanted, change.current
    parts = []
    if change.action != "attributes":
        before, after = _shown(current), ""
        if change.action != "remove":
            after = "(directory)\n" if wanted.state == "directory" else _text(wanted.content)
        if wanted.secret:
            before = HIDDEN if current.kind == "file" else before
            after = "(new secret content, not shown)\n" if after else ""
        parts.append({"before_header": wanted.path, "after_header": wanted.path, "before": before, "after": after})
    if change.action != "remove":
        old = "" if current.kind != wanted.state else _attributes_text(current.uid, current.gid, current.mode)
        new = _attributes_text(change.uid, change.gid, change.mode, wanted.owner, wanted.group)
        if old != new:
            header = f"{wanted.path} (attributes)"
            parts.append({"before_header": header, "after_header": header, "before": old, "after": new})
    return parts


def _shown(current: Current) -> str:
    if current.kind == "link":
        return f"(symbolic link to {current.target})\n"
    return {"absent": "", "file": _text(current.content)}.get(current.kind, f"({current.kind})\n")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _attributes_text(uid: int, gid: int, mode: int, owner: Optional[str] = None, group: Optional[str] = None) -> str:
    """Owner, group and mode as three lines; a name that does not exist yet is shown as it was given."""
    user = owner if uid == UNKNOWN_ID else _name("user", uid)
    team = group if gid == UNKNOWN_ID else _name("group", gid)
    return f"owner: {user}\ngroup: {team}\nmode: {mode:04o}\n"


def _name(kind: str, number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name if kind == "user" else grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _id(kind: str, name: Optional[str], check: bool) -> Optional[int]:
    """The id of a user or group, None for none. In check mode a missing one counts as one that a task before makes."""
    if name is None:
        return None
    if name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        if check:
            return UNKNOWN_ID
        raise LifelineError(
            f"config_files: the {kind} {name} does not exist on this host: create it, or install the package that does."
        ) from None


def _require_empty(change: Change, removed: set[str]) -> None:
    """A directory is removed only when nothing is left in it but what is removed before it."""
    path = change.wanted.path
    if change.current.kind != "directory":
        return
    left = sorted(name for name in os.listdir(path) if os.path.join(path, name) not in removed)
    if left:
        raise LifelineError(
            f"config_files: the directory {path} still holds {left[0]} and {len(left) - 1} more: "
            "remove them first, or list them as absent before it."
        )


def _directory(change: Change) -> None:
    path = change.wanted.path
    if change.action == "create":
        with atomic.folder(os.path.dirname(path)) as place:
            os.mkdir(os.path.basename(path), 0o700, dir_fd=place)
    with atomic.folder(path) as inside:
        atomic.entitle(inside, _rights(change))


def _attributes(change: Change) -> None:
    path = change.wanted.path
    with atomic.folder(os.path.dirname(path)) as place:
        descriptor = os.open(os.path.basename(path), _READ, dir_fd=place)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise LifelineError(f"config_files: {path} is not a regular file any more: look at it and move it away.")
        if found.st_nlink != 1:
            raise LifelineError(
                f"config_files: {path} has a second name (a hard link), whose owner or mode would change too: "
                "remove one of the names."
            )
        atomic.entitle(descriptor, _rights(change))
    finally:
        os.close(descriptor)


def _rights(change: Change) -> atomic.Rights:
    return atomic.Rights(change.uid, change.gid, change.mode)


def _stage_all(changes: list[Change], stack: contextlib.ExitStack) -> dict[str, atomic.Staged]:
    """A finished copy of each new file beside its target, by target, all validated; ``stack`` clears them away."""
    staged = {}
    for change in changes:
        path = change.wanted.path
        if change.wanted.state == "file" and change.action != "attributes":
            try:
                place = stack.enter_context(atomic.folder(os.path.dirname(path)))
                staged[path] = atomic.Staged(place, path, change.wanted.content, _rights(change))
            except OSError as error:
                error.filename = path
                raise
            stack.callback(staged[path].discard)
    for change in changes:
        if change.wanted.path in staged:
            _validate(change.wanted, staged[change.wanted.path].path)
    return staged


def _finish(change: Change, staged: Mapping[str, atomic.Staged]) -> None:
    path = change.wanted.path
    if path in staged:
        staged[path].commit()
    elif change.action == "remove":
        atomic.remove(path, is_folder=change.current.kind == "directory")
    else:
        _attributes(change)


def _validate(wanted: Wanted, staged: str) -> None:
    """Run the entry's check on the staged file. What a check says about a secret file may quote it: not shown."""
    if not wanted.validate:
        return
    argv = [word.replace("%s", staged) for word in wanted.validate]
    try:
        done = bounded(argv, VALIDATE_SECONDS, more={"LC_ALL": "C"}, stderr=subprocess.STDOUT)
    except FileNotFoundError:
        raise LifelineError(
            f"config_files: {argv[0]}, which checks {wanted.path}, is not installed on this host: install it first."
        ) from None
    except subprocess.TimeoutExpired:
        raise LifelineError(
            f"config_files: {argv[0]} did not finish checking {wanted.path} in {VALIDATE_SECONDS} s: run it by hand."
        ) from None
    if done.returncode:
        said = "its output is not shown, as the file is secret"
        if not wanted.secret:
            said = done.stdout.replace(staged, wanted.path).strip()[-1000:] or "it said nothing"
        raise LifelineError(
            f"config_files: {argv[0]} refused the new {wanted.path} (exit status {done.returncode}), "
            f"the old file is still in place: {said}"
        )
