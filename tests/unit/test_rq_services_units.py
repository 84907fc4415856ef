# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which units lost Redis."""

from __future__ import annotations

from typing import Any, Optional
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifeline.common import url as url_module
from lifeline.errors import LifelineError
from lifeline.observe import application_units
from lifeline.observe.application_units import Signs, State, Unit

HERE = "10.213.0.11:6379"
WORKER = Unit("rq-worker@1.service", "worker")
SCHEDULER = Unit("rq-scheduler.service", "scheduler")
WEB = Unit("rq-web.service", "web", "http://127.0.0.1:8000/health")
WELL = Signs(connections=(HERE, HERE), registered=True)


def test_a_worker_does_not_start_while_rq_is_suspended() -> None:
    ended = State(WORKER.name, active="activating", sub="auto-restart")
    young = (Signs(), [HERE], 1.0)
    assert application_units.judge(WORKER, ended, *young).action == "restart"
    assert application_units.judge(WORKER, ended, *young, suspended=True).action == "nothing"
    assert application_units.judge(WORKER, State(WORKER.name), *young).action == "wait"
    assert application_units.judge(WORKER, State(WORKER.name), *young, suspended=True).action == "nothing"
    assert (
        application_units.judge(WORKER, State(WORKER.name), Signs(), [HERE], 60.0, suspended=True).action == "restart"
    )
    dead = State(WORKER.name, active="failed", sub="failed")
    assert application_units.judge(WORKER, dead, *young, suspended=True).action == "restart"


def judge(unit: Unit, signs: Signs, age: float = 60.0, state: Optional[State] = None) -> tuple[str, str]:
    verdict = application_units.judge(unit, state or State(unit.name), signs, [HERE], age)
    return verdict.action, verdict.reason


def test_a_worker_that_is_registered_and_connected_is_well() -> None:
    assert judge(WORKER, WELL) == ("nothing", "healthy")


@pytest.mark.parametrize(
    ("signs", "reason"),
    [
        (Signs(connections=(HERE,), registered=False), "Redis does not list it as a worker"),
        (Signs(registered=True), "it is not connected"),
        (
            Signs(connections=("10.213.0.12:6379",), registered=True),
            "connected to 10.213.0.12:6379, which is not Redis",
        ),
        (Signs(connections=("10.213.0.12:5432",), registered=True), "it is not connected"),
        (Signs(connections=(HERE,), registered=True, sleeping=True), "it waits before it tries Redis again"),
    ],
    ids=["unregistered", "disconnected", "half-open", "other service", "backing off"],
)
def test_a_worker_that_lost_redis_is_restarted(signs: Signs, reason: str) -> None:
    action, why = judge(WORKER, signs)
    assert (action, reason in why) == ("restart", True), why


def test_a_worker_that_lost_redis_in_the_middle_of_a_job_may_finish_it() -> None:
    assert judge(WORKER, Signs(registered=False, busy=True, connections=(HERE,)))[0] == "drain"


def test_a_busy_worker_sleeps_as_its_job_does() -> None:
    assert judge(WORKER, Signs(connections=(HERE,), registered=True, sleeping=True, busy=True))[0] == "nothing"


def test_a_worker_that_has_just_started_gets_time_to_register() -> None:
    assert judge(WORKER, Signs(registered=False, connections=(HERE,)), age=1.0)[0] == "wait"


def test_without_an_answer_of_redis_a_connected_worker_is_left_alone() -> None:
    assert judge(WORKER, Signs(connections=(HERE,), registered=None))[0] == "nothing"


def test_where_redis_is_not_known_connections_are_not_judged() -> None:
    assert application_units.judge(WORKER, State(WORKER.name), Signs(registered=True), [], 60.0).action == "nothing"


def test_a_scheduler_sleeps_between_its_rounds_and_must_be_connected() -> None:
    assert judge(SCHEDULER, Signs(connections=(HERE,), sleeping=True))[0] == "nothing"
    assert judge(SCHEDULER, Signs())[0] == "restart"


@pytest.mark.parametrize(("health", "action"), [("200", "nothing"), ("503", "restart"), ("timed out", "restart")])
def test_a_web_application_is_as_well_as_it_says(health: str, action: str) -> None:
    assert judge(WEB, Signs(health=health))[0] == action


@pytest.mark.parametrize(
    ("active", "sub", "action"),
    [
        ("failed", "failed", "restart"),
        ("inactive", "dead", "restart"),
        ("activating", "auto-restart", "restart"),
        ("activating", "start", "wait"),
        ("deactivating", "stop-sigterm", "wait"),
        ("reloading", "reload", "nothing"),
    ],
)
def test_what_systemd_says_comes_first(active: str, sub: str, action: str) -> None:
    state = State("other.service", active=active, sub=sub)
    assert judge(Unit("other.service"), Signs(), state=state)[0] == action


def test_systemctl_show_is_read() -> None:
    text = """Id=rq-web.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
MainPID=17
NeedDaemonReload=yes
FragmentPath=/etc/systemd/system/rq-web.service
DropInPaths=/etc/systemd/system/rq-web.service.d/a.conf
EnvironmentFiles=/etc/rq/redis.env (ignore_errors=no)
EnvironmentFiles=/etc/rq/more.env (ignore_errors=yes)
ExecMainStartTimestampMonotonic=2500000

Id=gone.service
LoadState=not-found
ActiveState=inactive
"""
    web, gone = application_units.parse_show(text)
    assert (web.main_pid, web.started, web.need_reload, web.enabled) == (17, 2.5, True, "enabled")
    assert web.files == (
        "/etc/systemd/system/rq-web.service",
        "/etc/systemd/system/rq-web.service.d/a.conf",
        "/etc/rq/redis.env",
        "/etc/rq/more.env",
    )
    assert (gone.load, gone.active, gone.main_pid, gone.files) == ("not-found", "inactive", 0, ())


def test_established_connections_of_a_process_are_read_for_both_families() -> None:
    header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = "0: 0B00D50A:D5FC {peer} {state} 00000000:00000000 00:00000000 00000000 999 0 {inode} 1 0 20 4 30 10 -1\n"
    table = header
    table += row.format(peer="0B00D50A:18EB", state="01", inode=11)
    table += row.format(peer="0C00D50A:18EB", state="01", inode=99)
    table += row.format(peer="0D00D50A:18EB", state="08", inode=12)
    table += row.format(peer="0000000000000000FFFF00000E00D50A:18EB", state="01", inode=13)
    table += row.format(peer="B80D0120000000000000000001000000:18EB", state="01", inode=14)
    assert application_units.established(table, ["11", "12", "13", "14"]) == (
        "10.213.0.11:6379",
        "10.213.0.14:6379",
        "[2001:db8::1]:6379",
    )


def test_a_file_that_is_newer_than_the_process_means_a_restart() -> None:
    state = State("a.service", files=("/unit", "/environment"), started=100.0)
    unit = Unit("a.service", watch=("/release",))
    assert application_units.older(state, unit, {"/unit": 99.0, "/environment": 50.0, "/release": 100.0}) == ""
    assert application_units.older(state, unit, {"/unit": 99.0, "/release": 100.5}) == "/release"
    assert (
        application_units.older(
            State("a.service", active="failed", started=1.0, files=("/unit",)), unit, {"/unit": 2.0}
        )
        == ""
    )


ORDER = ["web", "worker", "scheduler", "other"]


def expand(*params: dict[str, Any]) -> tuple[list[str], list[str]]:
    wanted, unwanted = application_units.expand(params, ORDER)
    return [unit.name for unit in wanted], unwanted


def test_templates_are_expanded_and_kinds_come_in_their_order() -> None:
    assert expand(
        {"name": "mailer.timer"},
        {"name": "rq-worker@", "kind": "worker", "instances": 2},
        {"name": "rq-web", "kind": "web"},
    ) == (["rq-web.service", "rq-worker@1.service", "rq-worker@2.service", "mailer.timer"], ["rq-worker@"])


def test_a_unit_of_no_instance_must_not_run() -> None:
    assert expand({"name": "rq-web", "kind": "web", "instances": 0}) == ([], ["rq-web.service"])


def test_only_what_runs_or_is_enabled_is_in_excess() -> None:
    wanted, _ = application_units.expand([{"name": "rq-worker@", "instances": 1}], ORDER)
    states = [
        State("rq-worker@1.service"),
        State("rq-worker@2.service"),
        State("rq-worker@3.service", active="inactive"),
        State("rq-worker@4.service", active="inactive", enabled="disabled"),
        State("rq-worker@5.service", active="failed", enabled="disabled"),
    ]
    assert application_units.surplus(states, wanted) == ["rq-worker@2.service", "rq-worker@3.service"]


def test_workers_of_other_hosts_with_our_process_ids_are_not_ours() -> None:
    rows = [("app1", "17"), ("app2", "18"), (None, "19"), ("app1", None), ("app1", "x")]
    assert application_units.workers_here(rows, "app1") == {17, 19}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("REDIS_URL=redis://h/0?a=b\n", "redis://h/0?a=b"),
        ('OTHER=1\n REDIS_URL = "a \\"b\\"" \n', 'a "b"'),
        ("#REDIS_URL=no\n;REDIS_URL=no\n", None),
        ("REDIS_URL=\n", ""),
        ("REDIS_URL=first\nREDIS_URL=second\n", "second"),
    ],
)
def test_environment_files_are_read_as_systemd_does(text: str, value: Optional[str]) -> None:
    assert url_module.read_environment(text, "REDIS_URL") == value


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_any_password_survives_the_url(password: str) -> None:
    url = f"rediss://application:{quote(password, safe='')}@127.0.0.1:6379/2?ssl_ca_certs=/etc/rq/ca.crt"
    endpoint, credentials, database = url_module.parse_url(url)
    assert (endpoint.host, endpoint.port, database) == ("127.0.0.1", 6379, 2)
    assert (credentials.password, credentials.tls, credentials.ca_certs) == (password, True, "/etc/rq/ca.crt")


def test_urls_without_a_port_and_of_sockets_are_understood() -> None:
    endpoint, credentials, database = url_module.parse_url("redis://cache.example")
    assert (endpoint.host, endpoint.port, database, credentials.tls) == ("cache.example", 6379, 0, False)
    assert url_module.parse_url("unix:///run/redis.sock?db=3")[0].unix_socket == "/run/redis.sock"
    assert url_module.parse_url("unix:///run/redis.sock?db=3")[2] == 3


@pytest.mark.parametrize(
    "url", ["http://user:s3cret@h/0", "redis://user:s3cret@h:port/0", "redis://user:s3cret@h/zero"]
)
def test_a_wrong_url_is_one_sentence_without_its_password(url: str) -> None:
    with pytest.raises(LifelineError) as caught:
        url_module.parse_url(url)
    assert "s3cret" not in str(caught.value)


ROWS = {
    "mine": ("app1", "7"),
    "dead": ("app1", "8"),
    "elsewhere": ("app2", "8"),
    "expired": (None, None),
    "x": ("app1", "?"),
}


def test_workers_whose_process_is_gone_are_told_from_those_of_other_hosts() -> None:
    states = [State("rq-worker@1.service", kill_mode="mixed"), State("rq-worker@2.service", kill_mode="control-group")]
    assert application_units.gone(ROWS, "app1", {1, 7}, states) == ["dead"]


@pytest.mark.parametrize(
    "states", [[], [State("w", kill_mode="mixed"), State("w2", kill_mode="process")], [State("w")]]
)
def test_nobody_is_called_dead_where_a_horse_may_outlive_its_worker(states: list[State]) -> None:
    assert application_units.gone(ROWS, "app1", {1, 7}, states) == []
