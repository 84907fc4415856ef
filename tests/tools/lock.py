# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write constraints/python3.11.txt and python3.12.txt: the newest versions that pyproject.toml allows.

Each needs an interpreter of that version on this machine (3.12 stands for all later ones); a file whose interpreter is
missing is left as it is, and that is said.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from install import ROOT, install
from pythons import newest

HEADER = "# Written by `make lock`; do not edit.\n"
FILES = {"python3.11.txt": ((3, 11), (3, 12)), "python3.12.txt": ((3, 12), (3, 13))}


def main() -> int:
    """Write both files; 1 when one had no interpreter."""
    missing = 0
    for name, (lowest, below) in FILES.items():
        python = newest(lowest, below)
        if not python:
            print(f"lock: constraints/{name} is unchanged: no Python {lowest[0]}.{lowest[1]} on this machine")
            missing = 1
            continue
        print(f"lock: constraints/{name}, with {python}", flush=True)
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run([python, "-m", "venv", directory], check=True)
            interpreter = str(Path(directory) / "bin" / "python")
            install(interpreter, None)
            frozen = subprocess.run(
                [interpreter, "-m", "pip", "freeze", "--exclude", "pip", "--exclude", "setuptools"],
                check=True, capture_output=True, text=True,
            ).stdout  # fmt: skip
        (ROOT / "constraints" / name).write_text(HEADER + frozen)
    return missing


if __name__ == "__main__":
    sys.exit(main())
