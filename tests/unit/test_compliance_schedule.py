# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the schedule's units run after compliance.yml."""

from __future__ import annotations

import importlib.util
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from modules import ROOT

PROGRAM = ROOT / "roles" / "redis_compliance" / "files" / "lifeline_compliance.py"


@pytest.fixture
def program() -> Any:
    spec = importlib.util.spec_from_file_location("lifeline_compliance", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "reports"
    for name, compliant in (("orders", True), ("sessions", False)):
        (folder / name).mkdir(parents=True)
        reasons = [] if compliant else ["1 of severity high failed"]
        said = {"service": name, "verdict": {"compliant": compliant, "reasons": reasons}, "summary": {"score": 99.0}}
        (folder / name / "compliance.json").write_text(json.dumps(said))
        (folder / name / "compliance.prom").write_text(f'lifeline_compliance_compliant{{estate="{name}"}} 1\n')
    monkeypatch.setenv("LIFELINE_REPORTS", str(folder))
    monkeypatch.delenv("LIFELINE_WEBHOOK", raising=False)
    return folder


def test_B14_a_writer_follows_no_link(program: Any, tmp_path: Path) -> None:
    """Before: root wrote the metrics under a name that the folder's owner could guess, through a link planted there.

    Now: under a random name that must not exist.
    """
    (tmp_path / "precious").write_text("precious")
    folder = tmp_path / "textfiles"
    folder.mkdir()
    for name in (f".x.prom.{os.getpid()}", "x.prom"):
        (folder / name).symlink_to(tmp_path / "precious")
    program.put(folder / "x.prom", "mine\n")
    assert (tmp_path / "precious").read_text() == "precious"
    assert (folder / "x.prom").read_text() == "mine\n" and not (folder / "x.prom").is_symlink()
    assert (folder / "x.prom").stat().st_mode & 0o777 == 0o644
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    ("result", "status", "shown"), [("success", "0", "1"), ("exit-code", "2", "0"), ("timeout", "", "0")]
)
def test_metrics_say_how_the_run_ended(
    program: Any, reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: str, status: str, shown: str
) -> None:
    files = tmp_path / "textfiles"
    files.mkdir()
    monkeypatch.setenv("LIFELINE_TEXTFILES", str(files))
    monkeypatch.setenv("SERVICE_RESULT", result)
    monkeypatch.setenv("EXIT_STATUS", status)
    assert program.metrics() == 0
    assert f"lifeline_compliance_run_success {shown}\n" in (files / "lifeline_compliance_run.prom").read_text()
    assert (files / "lifeline_compliance_orders.prom").exists()
    assert len(list(files.iterdir())) == 3


def test_a_run_that_found_another_one_going_leaves_its_metrics_alone(
    program: Any, reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFELINE_TEXTFILES", str(tmp_path))
    monkeypatch.setenv("SERVICE_RESULT", "success")
    monkeypatch.setenv("EXIT_STATUS", "75")
    assert program.metrics() == 0
    assert not (tmp_path / "lifeline_compliance_run.prom").exists()


def test_the_message_names_the_estates_that_are_not_compliant(program: Any, reports: Path) -> None:
    (reports / "broken").mkdir()
    (reports / "broken" / "compliance.json").write_text("{")
    said = program.message(reports)
    assert "sessions: 1 of severity high failed" in said["text"]
    assert "broken: its report cannot be read" in said["text"]
    assert "orders" not in said["text"]


def test_the_webhook_gets_the_message(program: Any, reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Any] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_words: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    monkeypatch.setenv("LIFELINE_WEBHOOK", f"http://127.0.0.1:{server.server_port}/hook")
    assert program.notify() == 0
    thread.join(10)
    server.server_close()
    assert got[0]["estates"][1]["estate"] == "sessions"


def test_a_webhook_that_is_away_or_no_address_is_said(
    program: Any, reports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIFELINE_WEBHOOK", "http://127.0.0.1:9/hook?token=planted")
    assert program.notify() == 1
    monkeypatch.setenv("LIFELINE_WEBHOOK", "file:///etc/passwd")
    assert program.notify() == 1
    said = capsys.readouterr()
    assert "does not take it" in said.err and "no http or https address" in said.err
    assert "planted" not in said.err + said.out
