# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make an archive of the lab's application with its virtual environment, for one version of Python.

Hosts then need neither pip nor a package index: they unpack it below /opt. Prints {archive, release, built}; the
release is a hash of all that goes into the archive, so an unchanged application is neither built nor copied again.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import io
import json
import platform
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = "/opt/lab-app"
SCRIPTS = {"rq": ("rq.cli", "main"), "gunicorn": ("gunicorn.app.wsgiapp", "run")}


def sources() -> list[Path]:
    """What goes into the archive from here."""
    return sorted([*HERE.glob("orchestrator/*.py"), *HERE.glob("tools/*.py")])


def release(python: str) -> str:
    """A hash of everything that decides what the archive holds."""
    digest = hashlib.sha256(f"{python} {platform.machine()}".encode())
    for path in (Path(__file__), HERE / "locked.txt", *sources()):
        digest.update(path.relative_to(HERE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def fetch(python: str, target: Path) -> None:
    """The packages for that Python and this architecture, whichever Python this is."""
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    argv += [
        "--target",
        str(target),
        "--requirement",
        str(HERE / "locked.txt"),
        "--require-hashes",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]
    argv += ["--python-version", python, "--implementation", "cp", "--platform", f"manylinux2014_{platform.machine()}"]
    subprocess.run(argv, check=True)


def add_text(archive: tarfile.TarFile, name: str, text: str, mode: int) -> None:
    entry = tarfile.TarInfo(f"lab-app/{name}")
    entry.size, entry.mode = len(text.encode()), mode
    archive.addfile(entry, io.BytesIO(text.encode()))


def build(python: str, tag: str, path: Path) -> None:
    """Write the archive."""
    with tempfile.TemporaryDirectory() as work, tarfile.open(path, "w:gz", compresslevel=3) as archive:
        fetch(python, Path(work))

        def rooted(entry: tarfile.TarInfo) -> tarfile.TarInfo:
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = "root"
            entry.mode |= 0o755 if entry.isdir() else 0o644
            return entry

        archive.add(work, f"lab-app/venv/lib/python{python}/site-packages", filter=rooted)
        link = tarfile.TarInfo("lab-app/venv/bin/python")
        link.type, link.linkname = tarfile.SYMTYPE, f"/usr/bin/python{python}"
        archive.addfile(link)
        add_text(archive, "venv/pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\n", 0o644)
        for script, (module, function) in SCRIPTS.items():
            text = f"#!{HOME}/venv/bin/python\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
            add_text(archive, f"venv/bin/{script}", text, 0o755)
        for source in sources():
            mode = 0o755 if source.parent.name == "tools" else 0o644
            add_text(archive, source.relative_to(HERE).as_posix(), source.read_text(encoding="utf-8"), mode)
        add_text(archive, f"release-{tag}", "", 0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make an archive of the lab's application.")
    parser.add_argument("--python", required=True, help="version on the hosts, such as 3.11")
    parser.add_argument("--cache", type=Path, required=True, help="directory for the archive")
    arguments = parser.parse_args()
    tag = release(arguments.python)
    path = arguments.cache / f"lab-app-{arguments.python}-{tag}.tar.gz"
    arguments.cache.mkdir(parents=True, exist_ok=True)
    with open(arguments.cache / "lab-app.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = not path.exists()
        if built:
            unfinished = path.with_suffix(".new")
            build(arguments.python, tag, unfinished)
            unfinished.replace(path)
    print(json.dumps({"archive": str(path), "release": tag, "built": built}))


if __name__ == "__main__":
    main()
