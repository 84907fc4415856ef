# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host's log gets to hear of each call: Ansible writes a module's arguments to syslog, or to the journal.

Real modules and real tasks run as root in a mount namespace of their own, in which the test listens at /dev/log.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from modules import ROOT, Modules, shim

# Whatever of it arrives holds the word. Its line breaks and quotes look different in a representation of a list.
SECRET = (
    "-----BEGIN PRIVATE KEY-----\npl4nted+first/line\npl4nted'second\"line\\with quotes\n"
    "pl4nted-third \u00fc {{ pl4nted }}\n-----END PRIVATE KEY-----\n"
)
FOUND = re.compile(r"pl4nted|PRIVATE KEY")

# Options that are secret, by their names; what looks like one and is none.
SECRETIVE = re.compile(r"password|pass$|secret|content|token|(^|_)key$|urls?$|^config$|^vars$|^records$|settings$")
PUBLIC = ("validate_certs",)

# A /dev in which the test's socket is the log.
LOG = """
mkdir -p "$HOME_DIR/dev"
for name in null zero full random urandom tty; do
  touch "$HOME_DIR/dev/$name" && mount --bind "/dev/$name" "$HOME_DIR/dev/$name"
done
ln -s /proc/self/fd "$HOME_DIR/dev/fd"
mkdir "$HOME_DIR/dev/shm" && mount -t tmpfs shm "$HOME_DIR/dev/shm"
touch "$HOME_DIR/dev/log" && mount --bind "$HOME_DIR/socket" "$HOME_DIR/dev/log"
mount --rbind "$HOME_DIR/dev" /dev
exec "$@"
"""

# Starts each module as far as its arguments are logged, which is before it does anything.
STARTER = """
import json, os, runpy, sys
library, module_utils, shim, cases = sys.argv[1:5]
sys.argv[1:] = []
sys.path.insert(0, shim)
import ansible.module_utils
ansible.module_utils.__path__.append(module_utils)
from ansible.module_utils import basic
import ansible.module_utils.lifeline.common.spec as spec
spec.run = lambda module, work, shown=(): module.log("reached its work")
for name, options in json.load(open(cases)).items():
    if os.fork() == 0:
        basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": True,
            "_ansible_no_log": False, "_ansible_module_name": name}}).encode()
        basic._ANSIBLE_PROFILE = "legacy"
        runpy.run_path(f"{library}/{name}.py", run_name="__main__")
        os._exit(0)
    os.wait()
"""

JOURNAL = "def send(MESSAGE, **fields):\n    import sys, syslog\n    syslog.syslog(repr((MESSAGE, fields)))\n"


def can_unshare() -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_unshare(), reason="only root can put a socket where syslog listens")


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., tuple[str, list[str]]]]:
    """``listen(*command)`` runs it; what it printed, and what the log heard."""
    heard: list[str] = []
    place = Path(os.path.relpath(tmp_path / "socket"))  # the path of a socket is short
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(place))
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        ear.settimeout(0.2)
        over = threading.Event()

        def hear() -> None:
            while True:
                try:
                    heard.append(ear.recv(1 << 20).decode(errors="replace"))
                except TimeoutError:
                    if over.is_set():
                        return

        thread = threading.Thread(target=hear)
        thread.start()

        def run(*command: Any, **environment: str) -> tuple[str, list[str]]:
            done = subprocess.run(
                ["unshare", "--mount", "--propagation", "private", "sh", "-euc", LOG, "sh", *command],
                capture_output=True, text=True, timeout=120, check=False, cwd=ROOT,
                env={**os.environ, "HOME_DIR": str(tmp_path), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                     "ANSIBLE_NOCOLOR": "1", **environment},
            )  # fmt: skip
            over.set()
            thread.join()
            return done.stdout + done.stderr, heard

        yield run
        over.set()
        thread.join()


def documented(name: str) -> dict[str, Any]:
    """The options of a module, those of its fragments too, as its documentation has them."""
    code = (ROOT / "library" / f"{name}.py").read_text()
    said = yaml.safe_load(re.search(r'DOCUMENTATION = r"""(.*?)"""', code, re.DOTALL)[1])
    options: dict[str, Any] = {}
    for fragment in said.get("extends_documentation_fragment") or []:
        text = (ROOT / "plugins" / "doc_fragments" / f"{fragment.rpartition('.')[2]}.py").read_text()
        options.update(yaml.safe_load(re.search(r'DOCUMENTATION = r"""(.*?)"""', text, re.DOTALL)[1])["options"])
    return {**options, **said["options"]}


def planted(options: dict[str, Any]) -> dict[str, Any]:
    """A value for each option that is needed or may be secret, secrets wherever one can lie."""
    found: dict[str, Any] = {}
    for name, option in options.items():
        kind = option.get("type", "str")
        if option.get("suboptions"):
            entry = planted(option["suboptions"])
            found[name] = [entry] if kind == "list" else entry
        elif SECRETIVE.search(name) and name not in PUBLIC and not option.get("choices"):
            value = {"str": SECRET, "dict": {"a": SECRET}, "list": [SECRET]}.get(kind)
            if value:
                found[name] = value
        elif option.get("required"):
            plain = {"str": "x", "path": "/nonexistent", "int": 1, "float": 1, "bool": True, "list": [], "dict": {}}
            found[name] = option["choices"][0] if option.get("choices") else plain[kind]
    if "content" in found:
        found.pop("settings", None)  # a file has the one or the other
    return found


CASES = sorted(path.stem for path in (ROOT / "library").glob("*.py"))
# What a module asks for in words that its options' documentation does not have.
BESIDES = {"redis_diagnose": {"service": "x"}, "redis_endpoint": {"unit": "x"}}


@pytest.mark.parametrize("kind", ["syslog", "journal"])
def test_B2_no_module_has_its_secrets_logged(kind: str, listen: Any, tmp_path: Path) -> None:
    """Before: each run wrote the TLS key and the applications' environment to the host's log, in clear.

    Now: options that hold a secret, at any depth, are left out of what is logged.
    """
    cases = {name: {**planted(documented(name)), **BESIDES.get(name, {})} for name in CASES}
    assert cases["config_files"]["secret_files"][0]["content"] == SECRET
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    extra = {}
    if kind == "journal":
        (tmp_path / "python" / "systemd").mkdir(parents=True)
        (tmp_path / "python" / "systemd" / "__init__.py").touch()
        (tmp_path / "python" / "systemd" / "journal.py").write_text(JOURNAL)
        extra["PYTHONPATH"] = str(tmp_path / "python")
    command = [sys.executable, "-c", STARTER, ROOT / "library", ROOT / "module_utils", shim(), tmp_path / "cases.json"]
    said, heard = listen(*command, **extra)
    assert sum("reached its work" in line for line in heard) == len(CASES), said
    assert sum("Invoked with" in line for line in heard) >= len(CASES)
    assert [line for line in heard if FOUND.search(line)] == []


def test_B2_a_schedule_with_secrets_has_none_of_them_logged(listen: Any, tmp_path: Path) -> None:
    known = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_become": False,
        "redis_compliance_schedule_user": "root",
        "redis_compliance_schedule_webhook": "https://hooks.example.org/pl4nted-token",
        "redis_compliance_schedule_report_dir": str(tmp_path / "reports"),
    }
    (tmp_path / "known.json").write_text(json.dumps(known))
    said, heard = listen(
        Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "-e", f"@{tmp_path}/known.json",
        "--check", "--diff", "-vvv", "playbooks/compliance-schedule.yml",
    )  # fmt: skip
    assert any("ansible-config_files" in line and "Invoked with" in line for line in heard), said
    assert [line for line in heard if FOUND.search(line)] == []
    assert not FOUND.search(said), said


def test_an_unlogged_option_shows_in_results_where_it_is_no_secret(tmp_path: Path) -> None:
    options = {
        "files": [{"path": f"{tmp_path}/root", "content": "root\n"}],
        "secret_files": [{"path": f"{tmp_path}/x", "content": "pl4nted\n", "owner": "root", "mode": "0600"}],
    }
    result = Modules(Path(sys.executable), "none")("config_files", options)
    assert result["changed_paths"] == [f"{tmp_path}/root", f"{tmp_path}/x"]
    assert "owner: root" in json.dumps(result["diff"])
    assert "pl4nted" not in json.dumps(result.data)
