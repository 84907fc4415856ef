# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running the project's modules in tests, with any Python and any redis-py."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"

# The oldest redis-py that a supported distribution ships (Debian 12).
OLDEST = ("redis==4.3.4",)

# RQ's releases, each with the redis-py that its users run it with.
RQ = {
    "1.10.1": "4.3.4",
    "1.13.0": "4.3.4",
    "1.16.2": "5.0.8",
    "2.0.0": "5.2.1",
    "2.6.1": "7.1.0",
    "2.12.0": "8.1.0",
    "3.0.0": "8.1.0",
}
# The oldest RQ that 1.16's users have, and the newest that runs its command line.
RQ_USED, RQ_COMMANDS = ("rq==1.16.2", "redis==4.6.0"), ("rq==1.16.2", "redis==5.2.1", "click==8.1.8")

# What tests make environments of, beside their own.
ENVIRONMENTS = (
    OLDEST, ("redis==5.0.8",), ("redis==7.1.0",), RQ_USED, RQ_COMMANDS,
    *((f"rq=={version}", f"redis=={library}") for version, library in RQ.items()),
)  # fmt: skip

# A module is started as on a host, less the packing: ansible.module_utils is the controller's, with ours beside it.
# Only module_utils of ansible-core is put on the path, since a host has nothing else of it either.
STARTER = """
import runpy, sys
library, module_utils, shim = sys.argv[1:4]
sys.argv[1:] = []
sys.path.insert(0, shim)
import ansible.module_utils
ansible.module_utils.__path__.append(module_utils)
runpy.run_path(library, run_name="__main__")
"""


def locked(requirements: tuple[str, ...]) -> Path:
    """All that ``requirements`` take, with its digests: a file that `make lock` writes for each of ENVIRONMENTS."""
    return ROOT / "constraints" / "environments" / f"{'+'.join(requirements).replace('==', '-')}.txt"


def environment(requirements: tuple[str, ...], python: str = sys.executable) -> Path:
    """The interpreter of a cached virtual environment that has ``requirements``; made at the first call."""
    pins = locked(requirements)
    text = "\n".join((python, sys.version, pins.read_text()))
    home = CACHE / "venvs" / f"{pins.stem}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    interpreter, stamp = home / "bin" / "python", home / "complete"
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may want it at once
        if not stamp.exists():
            venv.create(home, with_pip=True, clear=True)
            take = ("--require-hashes", "--no-deps", "--requirement", pins)
            subprocess.run([interpreter, "-m", "pip", "install", "--quiet", *take], check=True)
            stamp.touch()
    return interpreter


def shim() -> Path:
    """A directory whose ``ansible`` package holds nothing but ansible-core's module_utils."""
    import ansible

    source = Path(ansible.__file__).parent
    home = CACHE / "module_utils" / hashlib.sha256(str(source).encode()).hexdigest()[:10]
    package = home / "ansible"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    link = package / "module_utils"
    if not link.is_symlink():
        with contextlib.suppress(FileExistsError):  # another test process may be quicker
            link.symlink_to(source / "module_utils")
    return home


@dataclass
class Result:
    """What a module printed, and how it ended."""

    data: dict[str, Any]
    returncode: int
    stderr: str

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    def get(self, key: str, default: Any = None) -> Any:
        """As dict.get."""
        return self.data.get(key, default)

    def __contains__(self, key: str) -> bool:
        return key in self.data

    @property
    def failed(self) -> bool:
        """Whether the module called fail_json."""
        return bool(self.data.get("failed", False))

    @property
    def changed(self) -> bool:
        """What the module says about itself."""
        return bool(self.data.get("changed", False))


class Modules:
    """Runs modules of library/ with one interpreter."""

    def __init__(self, interpreter: Path, redis_py: str) -> None:
        self.interpreter = interpreter
        self.redis_py = redis_py

    def __call__(
        self,
        name: str,
        options: Optional[dict[str, Any]] = None,
        *,
        check: bool = False,
        diff: bool = True,
        fails: Optional[bool] = False,
        timeout: float = 60.0,
    ) -> Result:
        """Run ``library/<name>.py`` with ``options``.

        ``fails``: whether failure is expected; None takes either. The assertion shows the module's own message.
        """
        arguments = {**(options or {}), "_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_no_log": False}
        done = subprocess.run(
            [self.interpreter, "-W", "error::SyntaxWarning", "-c", STARTER,
             ROOT / "library" / f"{name}.py", ROOT / "module_utils", shim()],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "PYTHONPYCACHEPREFIX": str(CACHE / "pycache")},
        )  # fmt: skip
        lines = done.stdout.strip().splitlines()
        assert lines, f"{name} printed nothing; stderr:\n{done.stderr}"
        result = Result(json.loads(lines[-1]), done.returncode, done.stderr)
        if fails is not None:
            assert result.failed == fails, f"{name}: {result.get('msg')}\n{result.get('exception', '')}{done.stderr}"
        return result


def ansible(
    *command: str, cwd: Path = ROOT, timeout: float = 300.0, env: Optional[dict[str, str]] = None
) -> subprocess.CompletedProcess[str]:
    """Run one of ansible-core's commands, ``ansible("ansible-playbook", "x.yml")``, from this Python's environment."""
    program, *rest = command
    return subprocess.run(
        [str(Path(sys.executable).parent / program), *rest],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", **(env or {})},
    )


def run_playbook(
    plays: Any, directory: Path, *options: str, env: Optional[dict[str, str]] = None
) -> subprocess.CompletedProcess[str]:
    """Run plays (a structure as YAML has it) through ansible-playbook from ``directory``.

    The inventory is ``directory/inventory.json`` when a test has written one, else localhost.
    """
    playbook = directory / "playbook.yml"
    playbook.write_text(json.dumps(plays))  # JSON is YAML
    inventory = directory / "inventory.json"
    if not inventory.exists():
        hosts = {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
        inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    return ansible("ansible-playbook", "-i", str(inventory), str(playbook), *options, env=env)


def release(python: Path) -> str:
    """``ansible-core X.Y.Z`` of that interpreter's environment."""
    code = "from ansible.release import __version__; print('ansible-core', __version__)"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
