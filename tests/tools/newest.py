# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The newest ansible-core on a part of the tests, where this machine has a Python for it (3.12 or later)."""

from __future__ import annotations

import os
import subprocess
import sys

from install import install
from modules import ROOT, release
from pythons import newest

CONSTRAINTS = ROOT / "constraints" / "python3.12.txt"
# A module through Ansible and one against a server: enough to see that both still do.
INTEGRATION = ("tests/integration/test_config_files.py", "tests/integration/test_redis_config.py")
HOME = ROOT / ".venvs" / "newest"


def prepare(python: str) -> None:
    """Make the environment anew when the pinned versions or the interpreter differ from last time's."""
    wanted = f"{python}\n{CONSTRAINTS.read_text()}"
    stamp = HOME / "complete"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"Making {HOME.relative_to(ROOT)} with {python}", flush=True)
    subprocess.run([python, "-m", "venv", "--clear", str(HOME)], check=True)
    install(str(HOME / "bin" / "python"), str(CONSTRAINTS))
    stamp.write_text(wanted)


def main() -> int:
    """Run the part; 0 as well when there is no Python for it, which is said."""
    if sys.version_info >= (3, 12):
        print("Everything runs with the newest ansible-core already")
        return 0
    python = newest((3, 12))
    if not python:
        print("left out: the newest ansible-core, since this machine has no Python 3.12 or later")
        return 0
    prepare(python)
    commands = HOME / "bin"
    environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}
    print(f"{release(commands / 'python')}, Python {python}", flush=True)
    steps: list[list[str]] = [
        [str(commands / "pytest"), "-q", "tests/unit"],
        [str(commands / "pytest"), "-q", "-n", "2", *INTEGRATION, "-k", "not redis-py-oldest"],
        ["make", "syntax", f"BIN={commands}"],
        [str(commands / "python"), "tests/sanity/run.py", "--test", "validate-modules"],
    ]
    codes = [subprocess.run(step, cwd=ROOT, env=environment, check=False).returncode for step in steps]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
