# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Borrow the server program of a lab host, to run the integration tests against it: ``borrow.py CONTAINER PROGRAM``.

Copies PROGRAM (``valkey-server``, ``redis-server``) and the libraries that it needs from a host that has it to
.cache/servers/, and prints the command that starts it here:

    LIFELINE_REDIS_SERVER=$(borrow.py lifeline-standalone-f9aba9-valkey13 valkey-server) pytest tests/integration/rq
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

from modules import CACHE

# Everything that the program loads, each under its own name; the loader is one of them.
PACK = r"""
set -e
program=$(readlink -f "$(command -v "$1")")
pack=$(mktemp -d)
cp "$program" "$pack/server"
for library in $(ldd "$program" | grep -o '/[^ ]*'); do cp -L "$library" "$pack/"; done
tar -C "$pack" -cf - .
rm -r "$pack"
"""


def borrow(container: str, program: str) -> Path:
    """The command that starts the program here."""
    packed = subprocess.run(
        ["podman", "exec", container, "sh", "-c", PACK, "pack", program], check=True, capture_output=True
    ).stdout
    home = CACHE / "servers" / f"{container}-{program}"
    home.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(home)
    (loader,) = home.glob("ld-linux*")
    # The server is one program under several names, and goes by the one that it was started with.
    command: Path = home / program
    command.write_text(f'#!/bin/sh\nexec {loader} --argv0 {program} --library-path {home} {home}/server "$@"\n')
    command.chmod(0o755)
    return command


if __name__ == "__main__":
    print(borrow(*sys.argv[1:]))
