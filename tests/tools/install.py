# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Install what pyproject.toml names into this Python's environment: ``install.py CONSTRAINTS``.

Only files whose digests are in CONSTRAINTS are installed: whoever can change what a registry or a mirror hands out gets
nothing run here. Otherwise pip is left to the machine's own configuration. Only the standard library is used, since
nothing else is there yet.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def requirements() -> list[str]:
    """Dependencies of the project and of its tests, as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["test"]]


def install(python: str, constraints: str | None) -> None:
    """Install with that interpreter's pip; CalledProcessError when pip fails, which has then said why.

    ``constraints`` None takes the newest versions that pyproject.toml allows, whatever their digests.
    """
    pip = [python, "-m", "pip"]
    if constraints is None:
        subprocess.run([*pip, "install", "-qq", *requirements()], check=True, cwd=ROOT)
        return
    locked = ["--require-hashes", "--no-deps", "--requirement", constraints]
    subprocess.run([*pip, "install", "-qq", *locked], check=True, cwd=ROOT)
    # Whatever pyproject.toml or a package wants and the file has not would be named here.
    subprocess.run([*pip, "install", "-qq", "--no-index", "--no-deps", *requirements()], check=True, cwd=ROOT)
    subprocess.run([*pip, "check"], check=True, cwd=ROOT)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("constraints")
    install(sys.executable, parser.parse_args().constraints)
