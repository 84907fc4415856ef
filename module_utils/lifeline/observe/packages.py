# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a role must know of a host before it plans: packages, units, kernel settings, files, memory. Reads only."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any, Iterable, Mapping, Optional

from ..common import commands, memory
from ..errors import LifelineError
from .units import unit_states

COMMAND_SECONDS = 20


def missing_packages(names: Iterable[str], listing: str) -> list[str]:
    """Those of ``names`` that are not installed, by dpkg-query's lines of ``name:state``."""
    installed = {line.split(":")[0] for line in listing.splitlines() if line.rstrip().endswith(":installed")}
    return [name for name in names if name not in installed]


def shipped_digest(conffiles: str, path: str) -> Optional[str]:
    """The MD5 that a package shipped ``path`` with, from dpkg's Conffiles field."""
    for line in conffiles.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == path:
            return words[1]
    return None


def work(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The module redis_host_facts. Raises LifelineError."""
    result: dict[str, Any] = {"memory_total": memory.available()}
    if params["packages"]:
        listing = _run(["dpkg-query", "-W", "-f", "${Package}:${db:Status-Status}\n", *params["packages"]], (0, 1))
        result["missing_packages"] = missing_packages(params["packages"], listing)
    if params["units"]:
        result["units"] = unit_states(params["units"])
    result["sysctl"] = {name: _sysctl(name) for name in params["sysctl"]}
    result["exists"] = {path: Path(path).exists() for path in params["paths"]}
    if params["pristine"]:
        result["pristine"] = _pristine(params["pristine"]["path"], params["pristine"]["package"])
    return result


def _run(command: list[str], accepted: tuple[int, ...]) -> str:
    """A command's output. Raises LifelineError when it is missing, hangs or fails."""
    try:
        done = commands.bounded(command, COMMAND_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LifelineError(f"{command[0]} does not work on this host: {error}; is it Debian with systemd?") from error
    if done.returncode not in accepted:
        raise LifelineError(f"{command[0]} failed on this host: {done.stderr.strip()[:200]}; repair it first.")
    return done.stdout


def _sysctl(name: str) -> str:
    """A kernel setting's value in force; empty where this kernel or container has it not."""
    try:
        return Path("/proc/sys", *name.split(".")).read_text().strip()
    except OSError:
        return ""


def _pristine(path: str, package: str) -> bool:
    """Whether nothing but the package ever wrote the file: it is missing, or as shipped."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return True
    shipped = shipped_digest(_run(["dpkg-query", "-W", "-f", "${Conffiles}", package], (0, 1)), path)
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == shipped
