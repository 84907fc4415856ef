# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run Molecule's scenarios, with Ansible as talkative as it gets: ``scenarios.py [NAME ...]``, all by default.

What Ansible says goes to .cache/molecule/NAME.log, where a test of the scenario looks for secrets; here one sees which
action runs, and the end of the log when one fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from ansible_output import failures
from modules import ROOT

LOGS = ROOT / ".cache" / "molecule"
ACTION = re.compile(r"\[[\w ]+ > (\w+)\].*Executing|Running [\w ]+ > (\w+)")


def run(name: str) -> int:
    """One scenario; Molecule's exit code."""
    log = LOGS / f"{name}.log"
    log.unlink(missing_ok=True)
    started = time.monotonic()
    action = ""
    environment = {
        **os.environ,
        "ANSIBLE_VERBOSITY": "3",
        "PY_COLORS": "0",
        "ANSIBLE_FORCE_COLOR": "0",
        "NO_COLOR": "1",
        "COLUMNS": "500",
    }
    command = [str(Path(sys.executable).parent / "molecule"), "test", "--scenario-name", name]
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process,
    ):  # fmt: skip
        assert process.stdout
        for line in process.stdout:
            file.write(line)
            file.flush()
            match = ACTION.search(line)
            if match and (match[1] or match[2]) != action:
                action = match[1] or match[2]
                print(f"{time.monotonic() - started:5.0f} s  {name}: {action}", flush=True)
    if process.returncode:
        text = log.read_text()
        print(f"\n{name} failed; the end of {log.relative_to(ROOT)}:\n", *text.splitlines(True)[-150:], sep="")
        print(*(f"went wrong: {name}: {failure}" for failure in failures(text)[-6:]), sep="\n")
    print(f"{time.monotonic() - started:5.0f} s  {name}: {'FAILED' if process.returncode else 'done'}", flush=True)
    return process.returncode


def main(names: list[str]) -> int:
    """All of the named scenarios; 1 when any failed."""
    LOGS.mkdir(parents=True, exist_ok=True)
    names = names or sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))
    return int(any([run(name) for name in names]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
