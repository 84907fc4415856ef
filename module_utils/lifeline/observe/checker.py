# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The server's own checkers of data files, run with the rights of the server's account, bounded in time and text."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any, Optional

from ..common import commands

# A checker reads some 200 MB/s; a copy gets a second for every 20 MiB, and no longer than a minute.
BYTES_A_SECOND = 20 << 20
LEAST_S, MOST_S = 5.0, 60.0

# What a checker says of its last file stands at its end.
MOST_TEXT = 65536

_KEYS = re.compile(r"\b(\d+) keys read")
_DAMAGED_RDB = re.compile(r"RDB ERROR DETECTED|CRC error|Wrong signature|Can't handle RDB format")


@dataclass(frozen=True)
class Said:
    """What a checker came to: its exit status, and the end of its text."""

    status: int
    text: str


def seconds_for(size: int) -> float:
    """How long the check of so many bytes may take."""
    return min(MOST_S, LEAST_S + size / BYTES_A_SECOND)


def run(kind: str, target: str, account: tuple[int, int], seconds: float, pass_fd: Optional[int] = None) -> Any:
    """``Said`` by redis-check-``kind`` (aof, rdb) or Valkey's; why there is nothing, as a clause, otherwise.

    ``account``: the uid and gid that it runs as. It only reads. ``pass_fd``: a descriptor that ``target`` names.
    """
    names = (f"redis-check-{kind}", f"valkey-check-{kind}")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        return f"{names[0]} is not installed"
    rights: dict[str, Any] = {}
    if os.geteuid() == 0 and account[0] != 0:
        rights = {"user": account[0], "group": account[1], "extra_groups": []}
    alone: dict[str, Any] = {"cwd": "/", "env": {"LC_ALL": "C", "PATH": os.defpath}, "stderr": subprocess.STDOUT}
    fds = () if pass_fd is None else (pass_fd,)
    try:
        done = commands.bounded([program, target], seconds, pass_fds=fds, **alone, **rights)
    except subprocess.TimeoutExpired:
        return f"{os.path.basename(program)} did not finish within {seconds:.0f} s"
    except (OSError, subprocess.SubprocessError) as error:
        return f"{program} did not start ({error})"
    return Said(done.returncode, done.stdout[-MOST_TEXT:])


def rdb_keys(said: Any) -> tuple[Optional[bool], Optional[int], str]:
    """(whether a snapshot is whole, None where nobody could tell; its keys; why it is not)."""
    if not isinstance(said, Said):
        return None, None, str(said)
    keys = _KEYS.search(said.text)
    if said.status == 0 and keys:
        return True, int(keys[1]), ""
    lines = [line.strip() for line in said.text.splitlines() if line.strip()]
    why = next((line for line in lines if re.search(r"rror|ignature|version", line)), lines[-1] if lines else "")
    return (False if _DAMAGED_RDB.search(said.text) else None), None, why[:200]
