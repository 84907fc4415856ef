# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The counting in the lab's application: a count that is wrong would prove the wrong thing."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> ModuleType:
    path = ROOT / "tests" / "lab_app" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"lab_app_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def check() -> ModuleType:
    return load("tools/check")


def test_every_acknowledged_job_is_in_exactly_one_place(check: ModuleType) -> None:
    names = ["ran.1", "twice.1", "twice.2", "unasked.1"]
    found = check.report({"ran", "twice", "waits", "broke", "gone"}, names, {"waits"}, {"broke"})
    counts = {key: found[key] for key in ("acknowledged", "executed", "lost", "doubled", "pending", "failed")}
    assert counts == {"acknowledged": 5, "executed": 2, "lost": 1, "doubled": 1, "pending": 1, "failed": 1}
    assert (found["lost_ids"], found["doubled_ids"], found["failed_ids"]) == (["gone"], ["twice"], ["broke"])


def test_a_job_that_ran_is_no_longer_pending_or_failed(check: ModuleType) -> None:
    found = check.report({"a", "b"}, ["a.1", "b.1"], {"a"}, {"b"})
    assert (found["executed"], found["pending"], found["failed"], found["lost"]) == (2, 0, 0, 0)


def test_a_line_that_a_power_cut_tore_is_passed_over(check: ModuleType) -> None:
    assert check.acknowledged('{"id": "a", "at": 1}\n{"id": "b", "a') == {"a"}


class Holding:
    """A Redis that holds nothing but one job in its queue."""

    def lrange(self, key: str, *_range: int) -> list[bytes]:
        return [b"waits"] if key == "rq:queue:orchestrator" else []

    def zrange(self, *_arguments: object) -> list[bytes]:
        return []


def test_jobs_that_another_host_ran_or_acknowledged_are_counted_once(check: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "executions").mkdir()
    (tmp_path / "executions" / "theirs.1").touch()
    (tmp_path / "acknowledged.jsonl").write_text('{"id": "ours"}\n{"id": "gone"}\n{"id": "waits"}\n')
    other = {"acknowledged": ["theirs"], "executions": ["ours.1"]}
    found = check.look(tmp_path, [other], Holding())
    counts = {key: found[key] for key in ("acknowledged", "executed", "lost", "doubled", "pending")}
    assert counts == {"acknowledged": 4, "executed": 2, "lost": 1, "doubled": 0, "pending": 1}
    assert check.traces(tmp_path) == {"acknowledged": ["gone", "ours", "waits"], "executions": ["theirs.1"]}


@pytest.mark.parametrize(
    ("pending", "left", "seconds"),
    [
        pytest.param([3] * 100 + [2] * 100 + [1] * 100 + [0], 0, 150, id="slow workers that go on are waited for"),
        pytest.param([3, 2], 2, 60.5, id="what nobody works on is not"),
        pytest.param([None, None, 0], 0, 1, id="a Redis that answers again"),
        pytest.param([None], None, 60, id="a Redis that never answers"),
    ],
)
def test_pending_is_what_no_worker_gets_to_for_so_long(
    check: ModuleType, pending: list[int | None], left: int | None, seconds: float
) -> None:
    now, looks = [0.0], iter(pending)

    def seen() -> dict[str, object]:
        count = next(looks, pending[-1])
        return {"error": "TimeoutError"} if count is None else {"pending": count}

    def pause(for_s: float) -> None:
        now[0] += for_s

    found = check.settled(seen, 60.0, lambda: now[0], pause)
    assert (found.get("pending"), now[0]) == (left, seconds)


def test_the_producer_says_when_the_outage_began_and_ended() -> None:
    produce = load("tools/produce")
    answers = [
        {"at": 1.0, "id": "a"},
        {"at": 2.0, "id": None},
        {"at": 3.0, "id": None},
        {"at": 4.0, "id": "b"},
        {"at": 5.0, "id": "c"},
    ]
    assert produce.summary(answers) == {
        "sent": 5,
        "acknowledged": 3,
        "failed": 2,
        "first_failure": 2.0,
        "last_failure": 3.0,
        "first_success_after": 4.0,
    }
    assert produce.summary(answers[:1])["first_success_after"] is None


def test_the_release_changes_with_the_application_and_with_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = load("build")
    source = tmp_path / "orchestrator" / "web.py"
    source.parent.mkdir()
    source.write_text("one")
    (tmp_path / "locked.txt").write_text("rq")
    before = build.release("3.11")
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(build, "__file__", str(tmp_path / "build.py"))
    (tmp_path / "build.py").write_text("")
    first, other = build.release("3.11"), build.release("3.13")
    source.write_text("two")
    assert len({before, first, other, build.release("3.11")}) == 4


def test_the_environment_file_is_read(check: ModuleType) -> None:
    assert check.environment('# c\nREDIS_URL=redis://h/0?a=b\nA="x"\n') == {"REDIS_URL": "redis://h/0?a=b", "A": "x"}


def test_the_acknowledged_list_is_one_json_object_a_line(check: ModuleType) -> None:
    lines = "".join(json.dumps({"id": str(number), "at": number}) + "\n" for number in range(3))
    assert check.acknowledged(lines) == {"0", "1", "2"}
