# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write constraints/python3.11.txt and python3.12.txt: the newest versions that pyproject.toml allows, and the digests
of all their files, for whatever machine; likewise for the environments that tests make, and for the lab's application.

Each needs an interpreter of that version on this machine (3.12 stands for all later ones); a file whose interpreter is
missing is left as it is, and that is said.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from install import ROOT, install
from modules import ENVIRONMENTS, locked
from pythons import newest

HEADER = "# Written by `make lock`; do not edit.\n"
FILES = {"python3.11.txt": ((3, 11), (3, 12)), "python3.12.txt": ((3, 12), (3, 13))}
LAB_APP = ROOT / "tests" / "lab_app"
# The oldest Python that tests and the lab run on.
LEAST = "3.11"
# What a package wants with an older release of the same Python than this machine's: redis with 3.11.2, Debian 12's.
BESIDES = {"python3.11.txt": ["async-timeout"]}


def main() -> int:
    """Write all files; 1 when one had no interpreter."""
    missing = 0
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        interpreter = str(Path(directory) / "bin" / "python")
        for requirements in ENVIRONMENTS:
            wanted = "".join(f"{requirement}\n" for requirement in requirements)
            locked(requirements).write_text(HEADER + with_digests(interpreter, LEAST, wanted, "--universal"))
        application = (LAB_APP / "requirements.txt").read_text()
        (LAB_APP / "locked.txt").write_text(HEADER + with_digests(interpreter, LEAST, application, "--universal"))
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
            wanted = frozen + "".join(f"{package}\n" for package in BESIDES.get(name, ()))
            (ROOT / "constraints" / name).write_text(
                HEADER + with_digests(interpreter, f"{lowest[0]}.{lowest[1]}", wanted, "--no-deps")
            )
    return missing


def with_digests(interpreter: str, version: str, wanted: str, how: str) -> str:
    """The list with the digests of each release's files. uv is told of the indexes that pip is configured with."""
    subprocess.run([interpreter, "-m", "pip", "install", "-qq", "uv"], check=True)
    indexes = [word for url in configured("extra-index-url") for word in ("--extra-index-url", url)]
    indexes += [word for url in configured("index-url")[:1] for word in ("--default-index", url)]
    return subprocess.run(
        [
            interpreter, "-m", "uv", "pip", "compile", "-q", "--generate-hashes", how, "--no-header",
            "--no-annotate", "--python-version", version, "--index-strategy", "unsafe-best-match", *indexes, "-",
        ],
        check=True, capture_output=True, text=True, input=wanted,
    ).stdout  # fmt: skip


def configured(setting: str) -> list[str]:
    """The values of a setting in pip's configuration, from wherever pip has it."""
    lines = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True)
    found = [line.partition("=") for line in lines.stdout.splitlines()]
    return [url for name, _, value in found if name.endswith(f".{setting}") for url in value.strip("'").split()]


if __name__ == "__main__":
    sys.exit(main())
