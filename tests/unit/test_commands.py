# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Programs of the host end, and what is kept of their words is bounded."""

from __future__ import annotations

import ast
import os
import selectors
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from lifeline.common import commands, shell

HOME = "module_utils/lifeline/common/commands.py"
# What starts a program, beside all of subprocess but its errors and its result.
STARTS = {"system", "popen", "posix_spawn", "posix_spawnp"}
MODULES = {"subprocess", "pty", "multiprocessing"}
NAMES = {"TimeoutExpired", "SubprocessError", "CompletedProcess", "STDOUT"}


def starts(tree: ast.AST) -> Iterator[str]:
    """What a module has that starts programs."""
    for node in ast.walk(tree):
        imported = {alias.name for alias in node.names} - {"subprocess"} if isinstance(node, ast.Import) else set()
        origin = node.module if isinstance(node, ast.ImportFrom) else ""
        if origin in MODULES or imported & MODULES:
            yield ast.unparse(node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            of, name = node.value.id, node.attr
            started = of == "os" and (name in STARTS or name.startswith(("exec", "spawn")))
            if started or (of == "subprocess" and name not in NAMES):
                yield f"{of}.{name}"


def test_B9_programs_are_started_in_one_place(root: Path) -> None:
    """Before: some calls of systemctl had a limit of time and none of text, and one that never ended broke the module.

    Now: one function starts programs, with both limits, and a test finds whatever else does.
    """
    found = {
        str(path.relative_to(root)): list(starts(ast.parse(path.read_text())))
        for folder in ("module_utils", "library")
        for path in (root / folder).rglob("*.py")
    }
    assert found[HOME]
    assert {name: said for name, said in found.items() if said and name != HOME} == {}


@pytest.mark.parametrize("text", ["subprocess.run([])", "from subprocess import run", "os.system('x')", "import pty"])
def test_B9_a_second_place_would_be_found(text: str) -> None:
    assert list(starts(ast.parse(text)))


def test_a_full_disk_has_room_for_a_program_without_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(commands.tempfile, "TemporaryFile", full)
    assert shell_script("echo yes").stdout == "yes\n"


def shell_script(text: str, seconds: float = 5.0, given: str = "") -> subprocess.CompletedProcess[str]:
    return commands.bounded(["sh", "-c", text], seconds, given)


def test_a_program_is_run_as_before() -> None:
    done = shell_script("cat; echo no >&2; exit 3", given="yes\n" * 50_000)
    assert (done.returncode, done.stdout, done.stderr) == (3, "yes\n" * 50_000, "no\n")
    assert shell_script('printf "%s" "$LC_ALL"').returncode == 0
    with pytest.raises(FileNotFoundError):
        commands.bounded(["/no/such/program"], 1)


def test_B11_of_an_endless_output_a_part_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before: all that a program of a host said was kept.

    Now: 8 MiB of it, and the program is still waited for, or ended in time.
    """
    monkeypatch.setattr(commands, "OUTPUT_BYTES", 1000)
    assert len(shell_script("yes | head -c 3000000").stdout) == 1000
    with pytest.raises(subprocess.TimeoutExpired):
        shell_script("yes", 0.3)


@pytest.mark.parametrize(
    "text", ["sleep 60", "sleep 60 & exec sleep 60", "exec >&- 2>&-; sleep 60", "trap '' TERM; sleep 60"]
)
def test_B9_a_program_that_does_not_end_is_ended(text: str) -> None:
    """Before: a program's children could hold its output open, and were waited for without end.

    Now: they are ended with it.
    """
    started = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        shell_script(text, 0.3)
    assert time.monotonic() - started < 3
    assert shell.output(["sh", "-c", text], 0.3) == ""


def test_B9_a_child_that_is_left_behind_is_not_waited_for() -> None:
    started = time.monotonic()
    assert shell_script("sleep 30 & echo done").stdout == "done\n"
    assert time.monotonic() - started < 3


def test_what_a_program_says_at_its_very_end_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy host the look at its pipes may end without a word just before it speaks and ends."""

    class Late(selectors.DefaultSelector):
        looks = 0

        def select(self, timeout: Optional[float] = None) -> Any:
            self.looks += 1
            if self.looks > 1:
                return super().select(timeout)
            try:
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            except ChildProcessError:  # it had ended before this look
                return super().select(timeout)
            return []

    monkeypatch.setattr(selectors, "DefaultSelector", Late)
    assert shell_script("echo word; echo trouble >&2").stdout == "word\n"
