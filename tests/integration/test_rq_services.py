# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""rq_services with real workers and a real Redis. Only systemd is played: by a small program that starts processes."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

import pytest
from lifeline.observe.application_units import SUSPENDED
from lifeline.observe.posture.server import jobs
from modules import RQ_COMMANDS, Modules, environment
from redis import Redis
from servers import Server, Servers, free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]
WORKER = "rq-worker@1.service"

# Keeps one JSON file: {unit: {argv, pid, started, active, enabled}}. Starts and ends real processes.
SYSTEMCTL = """
import json, os, signal, subprocess, sys, time
home = os.environ["FAKE_SYSTEMD"]
path = os.path.join(home, "units.json")
units = json.load(open(path))
words = [word for word in sys.argv[1:] if not word.startswith("--")]
with open(os.path.join(home, "calls"), "a") as calls:
    calls.write(" ".join(words) + "\\n")
verb, names = words[0], words[1:]

def alive(unit):
    try:
        return unit["pid"] and open(f"/proc/{unit['pid']}/stat").read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False

def stop(unit):
    if alive(unit):
        os.kill(unit["pid"], signal.SIGTERM)
        while alive(unit):
            time.sleep(0.02)
    unit.update(pid=0, active="inactive")

def start(name, unit):
    log = open(os.path.join(home, "log"), "a")
    started = time.monotonic()
    process = subprocess.Popen(unit["argv"], stdout=log, stderr=log, stdin=-3, start_new_session=True)
    unit.update(pid=process.pid, active="active", started=started)

if verb == "show":
    for name in names:
        unit = units.get(name)
        if unit and unit["active"] == "deactivating":
            if time.monotonic() < unit["stops_at"]:
                print(f"Id={name}\\nLoadState=loaded\\nActiveState=deactivating\\nSubState=stop-sigterm\\n")
                continue
            stop(unit)
            start(name, unit)
        if unit is None:
            print(f"Id={name}\\nLoadState=not-found\\nActiveState=inactive\\nSubState=dead\\n")
            continue
        active = "active" if alive(unit) else "failed" if unit["active"] == "active" else unit["active"]
        sub = "running"
        if active == "failed" and unit.get("again"):
            active, sub = "activating", "auto-restart"
        print(f"Id={name}\\nLoadState=loaded\\nActiveState={active}\\nSubState={sub}\\nUnitFileState={unit['enabled']}")
        print(f"MainPID={unit['pid'] if active == 'active' else 0}\\nFragmentPath={unit['file']}")
        print(f"ExecMainStartTimestampMonotonic={int(unit['started'] * 1e6)}\\nKillMode=mixed\\n")
elif verb == "restart":
    for name in names:
        unit = units[name]
        if unit.get("stops_in"):
            unit.update(active="deactivating", stops_at=time.monotonic() + unit["stops_in"])
            continue
        stop(unit)
        start(name, unit)
elif verb == "enable":
    for name in names:
        units[name]["enabled"] = "enabled"
elif verb == "disable":
    for name in names:
        units[name]["enabled"] = "disabled"
        stop(units[name])
elif verb in ("list-units", "list-unit-files"):
    prefix = names[0].partition("*")[0]
    print("\\n".join(f"{name} loaded" for name in units if name.startswith(prefix)))
json.dump(units, open(path + ".new", "w"))
os.replace(path + ".new", path)
"""

HEALTH = """
import http.server, pathlib, sys

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = pathlib.Path(sys.argv[2])
        self.send_response(int(status.read_text()))
        if status.read_text() == "503":
            status.with_name("asked").touch()
        self.end_headers()

    def log_message(self, *arguments):
        pass

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Health).serve_forever()
"""


class Host:
    """An application host: units that systemd would run, and the file that holds their Redis URL."""

    def __init__(self, home: Path, server: Server, run_module: Modules) -> None:
        self.home = home
        self.status = home / "status"
        self.server = server
        self.module = run_module
        (home / "bin").mkdir()
        command = home / "bin" / "systemctl"
        command.write_text(f"#!{sys.executable}\n{textwrap.dedent(SYSTEMCTL)}")
        command.chmod(0o755)
        self.url = f"redis://127.0.0.1:{server.port}/0"
        (home / "redis.env").write_text(f"REDIS_URL={self.url}\n")
        self.write({})

    def write(self, units: dict[str, Any]) -> None:
        (self.home / "units.json").write_text(json.dumps(units))

    def read(self) -> dict[str, Any]:
        units: dict[str, Any] = json.loads((self.home / "units.json").read_text())
        return units

    def add(self, name: str, *argv: str) -> None:
        """A unit that is not running."""
        unit_file = self.home / name
        unit_file.write_text(" ".join(argv))
        os.utime(unit_file, (0, 0))
        unit = {
            "argv": argv,
            "pid": 0,
            "started": 0,
            "active": "inactive",
            "enabled": "disabled",
            "file": str(unit_file),
        }
        self.write({**self.read(), name: unit})

    def add_worker(self, name: str = WORKER) -> None:
        python = environment(RQ_COMMANDS)
        self.add(name, str(python), "-m", "rq.cli", "worker", "--url", self.url, "orchestrator")

    def add_web(self) -> dict[str, Any]:
        """A web application whose health is what the file ``status`` says; its options for the module."""
        port = free_port()
        self.status.write_text("200")
        self.add("rq-web.service", sys.executable, "-c", HEALTH, str(port), str(self.status))
        return {"name": "rq-web", "kind": "web", "health_url": f"http://127.0.0.1:{port}/health"}

    def services(
        self, state: str, *units: dict[str, Any], check: bool = False, fails: bool = False, **options: Any
    ) -> Any:
        wanted = units or ({"name": "rq-worker@", "kind": "worker", "instances": 1},)
        params = {"state": state, "units": list(wanted), "url_file": str(self.home / "redis.env"), **options}
        return self.module("rq_services", params, check=check, fails=fails)

    def pid(self, name: str = WORKER) -> int:
        return int(self.read()[name]["pid"])

    def age(self, seconds: float = 60.0) -> None:
        """As if the units had been running for long, so that they need no more time to register."""
        self.write({name: {**unit, "started": unit["started"] - seconds} for name, unit in self.read().items()})

    def close(self) -> None:
        for unit in self.read().values():
            if unit["pid"]:
                with suppress(ProcessLookupError):
                    os.killpg(unit["pid"], signal.SIGKILL)


@pytest.fixture
def host(tmp_path: Path, redis_server: Servers, run_module: Modules, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    (tmp_path / "host").mkdir()
    monkeypatch.setenv("FAKE_SYSTEMD", str(tmp_path / "host"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'host' / 'bin'}:{os.environ['PATH']}")
    made = Host(tmp_path / "host", redis_server(), run_module)
    yield made
    made.close()


def answer_well(status: Path, asked: Path) -> None:
    wait_for(asked.exists, "the module to ask for health", 20)
    status.write_text("200")


def reason(result: Any, name: str = WORKER) -> Optional[str]:
    return next((unit["reason"] for unit in result["units"] if unit["name"] == name), None)


def test_units_are_started_checked_and_left_alone(host: Host) -> None:
    host.add_worker()

    check = host.services("started", check=True)
    assert (check.changed, check["restarted"], check["enabled"]) == (True, [WORKER], [WORKER])
    assert host.pid() == 0

    started = host.services("started")
    assert (started.changed, started["restarted"]) == (True, [WORKER])
    assert host.server.client().scard("rq:workers") == 1
    pid = host.pid()

    again = host.services("started")
    assert not again.changed
    recovered = host.services("recovered")
    assert (recovered.changed, recovered["healthy"]) == (False, True)
    assert host.pid() == pid


def test_a_worker_that_redis_forgot_is_restarted_and_nothing_else(host: Host) -> None:
    host.add_worker()
    host.add_worker("rq-worker@2.service")
    both = {"name": "rq-worker@", "kind": "worker", "instances": 2}
    host.services("started", both)
    host.age()
    client = host.server.client()
    other = host.pid("rq-worker@2.service")
    key = next(key for key in client.smembers("rq:workers") if client.hget(key, "pid") == str(host.pid()))
    client.srem("rq:workers", key)

    seen = host.services("checked", both)
    assert (seen.changed, seen["healthy"], seen["restarted"]) == (False, False, [WORKER])
    assert reason(seen) == "Redis does not list it as a worker"
    assert host.services("recovered", both, check=True).changed

    pid = host.pid()
    assert host.services("recovered", both)["restarted"] == [WORKER]
    assert host.pid() != pid
    assert host.pid("rq-worker@2.service") == other
    assert not host.services("recovered", both).changed


def test_a_worker_that_died_is_started(host: Host) -> None:
    host.add_worker()
    host.services("started")
    (key,) = host.server.client().smembers("rq:workers")
    os.kill(host.pid(), signal.SIGKILL)
    recovered = host.services("recovered")
    assert recovered["restarted"] == [WORKER]
    assert "systemd says failed" in str(reason(recovered))
    assert [f"rq:worker:{name}" for name in recovered["gone_workers"]] == [key]
    assert not host.services("recovered").changed


def test_a_worker_that_backs_off_after_an_outage_is_restarted(host: Host, redis_server: Servers) -> None:
    host.add_worker()
    host.services("started")
    host.age()
    port = host.server.port
    host.server.kill()
    # After the fourth attempt it sleeps for 8 s.
    log = host.home / "log"
    wait_for(lambda: "Retrying in 8 seconds" in log.read_text(), "the worker to back off", 30)
    redis_server(port=port)
    seen = host.services("recovered")
    assert seen["restarted"] == [WORKER]
    assert Redis(port=port).scard("rq:workers") >= 1


def test_while_redis_is_away_nothing_is_restarted(host: Host) -> None:
    host.add_worker()
    host.services("started")
    host.age()
    host.server.kill()
    wait_for(lambda: "Retrying in 2 seconds" in (host.home / "log").read_text(), "the worker to notice", 30)
    pid = host.pid()
    failed = host.services("recovered", fails=True)
    assert "bring Redis back first" in failed["msg"]
    assert host.pid() == pid


def test_a_unit_that_has_not_read_its_new_file_is_restarted_once(host: Host) -> None:
    host.add_worker()
    host.services("started")
    pid = host.pid()
    (host.home / WORKER).touch()
    restarted = host.services("started")
    assert (restarted.changed, restarted["restarted"]) == (True, [WORKER])
    assert reason(restarted) == f"{host.home / WORKER} changed since its start"
    assert host.pid() != pid
    assert not host.services("started").changed


def test_a_worker_is_restarted_while_rq_is_suspended_though_rq_does_not_let_it_start(host: Host) -> None:
    host.add_worker()
    host.services("started")
    host.write({name: {**unit, "again": True} for name, unit in host.read().items()})
    host.server.client().set("rq:suspended", 1)
    (host.home / WORKER).touch()
    assert host.services("started", timeout=10)["restarted"] == [WORKER]
    wait_for(lambda: "RQ is currently suspended" in (host.home / "log").read_text(), "the worker to end", 20)
    again = host.services("recovered", timeout=10)
    assert (again.changed, again["healthy"], reason(again)) == (False, True, SUSPENDED)


def test_the_time_that_a_unit_takes_to_stop_does_not_count(host: Host) -> None:
    web = host.add_web()
    host.services("started", web)
    host.write({name: {**unit, "stops_in": 5} for name, unit in host.read().items()})
    (host.home / "rq-web.service").touch()
    began = time.monotonic()
    assert host.services("started", web, timeout=2)["restarted"] == ["rq-web.service"]
    assert time.monotonic() - began > 5


def test_instances_in_excess_are_stopped(host: Host) -> None:
    host.add_worker()
    host.add_worker("rq-worker@2.service")
    host.services("started", {"name": "rq-worker@", "kind": "worker", "instances": 2})
    fewer = host.services("started")
    assert (fewer.changed, fewer["stopped"]) == (True, ["rq-worker@2.service"])
    assert host.read()["rq-worker@2.service"]["enabled"] == "disabled"
    assert not host.services("started").changed


@pytest.mark.parametrize("heals", [True, False], ids=["heals", "stays"])
def test_a_web_application_gets_time_before_it_is_restarted(host: Host, heals: bool) -> None:
    web = host.add_web()
    host.services("started", web)
    host.age()
    pid = host.pid("rq-web.service")
    host.status.write_text("503")
    if heals:
        # As soon as the module has asked once, the application is well again.
        threading.Thread(target=answer_well, args=(host.status, host.home / "asked")).start()
    result = host.services("recovered", web, timeout=3, fails=not heals)
    if heals:
        assert (result.changed, host.pid("rq-web.service")) == (False, pid)
    else:
        assert "says 503" in result["msg"]
        assert "journalctl -u rq-web.service" in result["msg"]
        assert result["restarted"] == ["rq-web.service"]
        assert host.pid("rq-web.service") != pid


def test_a_unit_that_does_not_exist_is_one_clear_sentence(host: Host) -> None:
    failed = host.services("checked", {"name": "nothing"}, fails=True)
    assert "no unit nothing.service" in failed["msg"]


def test_an_environment_file_without_the_url_is_one_clear_sentence(host: Host) -> None:
    host.add_worker()
    (host.home / "redis.env").write_text("OTHER=1\n")
    failed = host.services("recovered", fails=True)
    assert "does not set REDIS_URL" in failed["msg"]


def test_A12_a_worker_with_another_prefix_is_well(host: Host) -> None:
    """Before: every healthy worker with another RQ_KEY_PREFIX was "not listed by Redis", and restarted.

    Now: one rq_key_prefix reaches every module, role and playbook, and nothing builds a key by hand.
    """
    # sys.executable has RQ 3, which alone knows the variable.
    worker = (
        "/usr/bin/env",
        "RQ_KEY_PREFIX=shop",
        sys.executable,
        "-m",
        "rq.cli",
        "worker",
        "--url",
        host.url,
        "default",
    )
    host.add(WORKER, *worker)
    shop = {"key_prefix": "shop"}
    host.services("started", **shop)
    client = host.server.client()
    assert (client.scard("shop:workers"), client.exists("rq:workers")) == (1, 0)
    host.age()
    pid = host.pid()
    assert host.services("checked", **shop)["healthy"]
    assert not host.services("recovered", **shop).changed
    assert host.pid() == pid
    assert not host.services("checked")["healthy"], "under the usual prefix nobody is listed"

    assert host.module("rq_info", {**host.server.login(), **shop})["workers"][0]["live"]
    assert jobs(client, "shop")["workers"] == 1
    assert host.module("rq_suspend", {**host.server.login(), **shop}).changed
    assert client.exists("shop:suspended")
    gate = {"url_file": str(host.home / "redis.env"), "soak": 0.1, **shop}
    assert host.module("application_gate", gate)["seen"]["workers"] == 1
    assert [key.rpartition(":")[0] for key in client.scan_iter("*gate*")] == ["shop:lifeline:gate"]

    (name,) = client.smembers("shop:workers")
    os.kill(pid, signal.SIGKILL)
    gone = host.services("recovered", **shop)["gone_workers"]
    assert [f"shop:worker:{row['name'] if isinstance(row, dict) else row}" for row in gone] == [name]
