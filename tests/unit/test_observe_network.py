# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ways between hosts, connections, certificates, clients' lists: what is read without asking a server, and replies."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifeline.errors import LifelineError
from lifeline.formats import certificate
from lifeline.observe import clients, connections, jobs, reach, services, talk
from servers import make_tls


@contextmanager
def listener() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield int(server.getsockname()[1])


def test_a_way_is_open_refused_or_unknown() -> None:
    with listener() as port:
        with listener() as other:
            closed = other
        found = reach.paths(
            {"open": ("127.0.0.1", port), "closed": ("127.0.0.1", closed), "named": ("x.invalid", port)}
        )
    assert (found["open"]["answered"], found["open"]["refused"], found["open"]["error"]) == (reach.TRIES, 0, "")
    assert (found["closed"]["answered"], found["closed"]["refused"]) == (reach.TRIES, reach.TRIES)
    assert found["named"]["tries"] == 0 and found["named"]["error"]


def test_a_name_server_that_says_nothing_costs_no_more_than_agreed() -> None:
    never = threading.Event()
    started = time.monotonic()
    found = reach.resolve(["a.example", "192.0.2.1", "::1"], 0.2, lambda *_args, **_options: never.wait())
    assert time.monotonic() - started < 2
    assert found["192.0.2.1"] == {"addresses": ["192.0.2.1"], "error": ""}
    assert found["a.example"] == {"addresses": [], "error": "no answer within 0.2 s"}


TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B0614AC:18EB 0E0614AC:D2F0 01 00000000:00000000 00:00000000 00000000   101        0 100 1
   1: 0B0614AC:18EB 0E0614AC:D2F2 01 00000000:00000000 00:00000000 00000000   101        0 101 1
   2: 0B0614AC:18EB 0C0614AC:D2F4 06 00000000:00000000 00:00000000 00000000   101        0 102 1
   3: 0000000000000000FFFF00000B0614AC:18EB 0000000000000000FFFF00000C0614AC:E000 01 0:0 00:0 0 0 0 1
   4: 0B0614AC:0016 0E0614AC:D2F6 01 00000000:00000000 00:00000000 00000000     0        0 103 1
   5: broken
   6: 0100007F:18EB 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 104 1
   7: 00000000000000000000000001000000:18EB 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1
   8: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 105 1
"""
LISTENING = ["127.0.0.1", "::1"]


def test_connections_are_counted_by_where_they_come_from() -> None:
    here = {"listening": LISTENING}
    assert connections.count(TABLE, 6379) == {"total": 3, "by_address": {"172.20.6.14": 2, "172.20.6.12": 1}, **here}
    assert connections.count("", 6379) == {"total": 0, "by_address": {}, "listening": []}


@given(st.text())
def test_any_table_is_counted(text: str) -> None:
    connections.count(text, 6379)


def test_the_dates_of_a_certificate_and_whether_its_key_fits(tmp_path: Path) -> None:
    one, two = make_tls(tmp_path / "one"), make_tls(tmp_path / "two")
    begin, end = certificate.validity(certificate.file_certificate(str(one.cert)))
    assert end - begin == 86400 and abs(begin - time.time()) < 600
    assert certificate.key_fits(str(one.cert), str(one.key)) is True
    assert certificate.key_fits(str(one.cert), str(two.key)) is False
    (tmp_path / "cut.key").write_text(one.key.read_text()[:60])
    assert certificate.key_fits(str(one.cert), str(tmp_path / "cut.key")) is False
    (tmp_path / "locked.key").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert certificate.key_fits(str(one.cert), str(tmp_path / "locked.key")) is None
    with pytest.raises(LifelineError, match="cannot be read"):
        certificate.key_fits(str(one.cert), str(tmp_path / "none.key"))


@given(st.binary(max_size=80))
def test_what_is_no_certificate_is_said_to_be_none(der: bytes) -> None:
    with pytest.raises(ValueError):
        certificate.validity(der)


def test_clients_by_who_they_are() -> None:
    text = "id=1 addr=192.0.2.9:5000 name=w1 user=application idle=7\n"
    text += "id=2 addr=192.0.2.9:5001 name=w1 user=application idle=90\n"
    text += "id=3 addr=[2001:db8::1]:5001 name= user=default idle=0\nnonsense\n"
    assert clients.holders(text) == [
        {"address": "192.0.2.9", "user": "application", "name": "w1", "count": 2, "idle_s": 90},
        {"address": "[2001:db8::1]", "user": "default", "name": "", "count": 1, "idle_s": 0},
    ]


def test_of_a_slow_command_only_its_name_is_kept() -> None:
    row = [14, 1790000000, 2300000, ["set", "planted-key", "planted-secret"], "192.0.2.9:5000", "w1"]
    (found,) = clients.slow_commands([row])
    assert (found["command"], found["ms"]) == ("SET", 2300.0)
    assert "planted" not in str(found)


REPLIES: tuple[Any, ...] = (
    (b"+PONG\r\n$3\r\nabc\r\n:7\r\n", ["PONG", "abc", "7"], b""),
    (b"+OK\r\n$10\r\nabc", ["OK"], b"$10\r\nabc"),
    (b"$-1\r\n+OK\r\n", ["", "OK"], b""),
    (b"+half", [], b"+half"),
)


@pytest.mark.parametrize(("data", "replies", "rest"), REPLIES)
def test_replies_are_read_as_they_come(data: bytes, replies: list[str], rest: bytes) -> None:
    assert talk.parse(data) == (replies, rest)


def test_a_refusal_is_told_from_a_reply() -> None:
    (reply,), _rest = talk.parse(b"-NOAUTH Authentication required.\r\n")
    assert isinstance(reply, talk.RefusedError)
    with pytest.raises(ValueError, match="not as Redis does"):
        talk.parse(b"HTTP/1.1 400 Bad Request\r\n")


@given(st.binary())
def test_any_answer_is_read_or_refused(data: bytes) -> None:
    try:
        talk.parse(data)
    except ValueError:
        return


def test_info_is_read_as_redis_py_reads_it() -> None:
    text = "# Server\r\nredis_version:7.0.15\r\nslave0:ip=192.0.2.2,port=6379,lag=0\r\n"
    text += "db0:keys=3,expires=1\r\nexecutable:/a,b\r\n"
    found = talk.info(text)
    assert found["redis_version"] == "7.0.15"
    assert found["slave0"] == {"ip": "192.0.2.2", "port": "6379", "lag": "0"}
    assert found["db0"]["keys"] == "3"
    assert found["executable"] == "/a,b"


def test_sessions_are_estimated_from_what_was_seen() -> None:
    names = [f"session:{number}".encode() for number in range(30)] + [b"rq:job:1"] * 10
    assert jobs.estimate(names, ["session:*"], 31, complete=True) == {"session:*": {"keys": 30, "exact": True}}
    found = jobs.estimate(names, ["session:*", "cache:*"], 3100, complete=False)
    assert found == {"session:*": {"keys": 3000, "exact": False}, "cache:*": {"keys": 0, "exact": False}}
    assert jobs.estimate([], ["session:*"], 0, complete=True) == {"session:*": {"keys": 0, "exact": True}}


def test_what_haproxy_says_of_its_servers() -> None:
    text = (
        "# pxname,svname,qcur,status\nprimaries,redis1,0,UP\nprimaries,redis2,0,DOWN\nprimaries,BACKEND,0,UP\n"
        "primary,FRONTEND,,OPEN\nchosen,redis1,0,no check\n\n"
    )
    assert services.parse_stat(text) == {
        "primaries": {"redis1": "UP", "redis2": "DOWN"},
        "chosen": {"redis1": "no check"},
    }
    assert services.parse_stat("") == {}


def test_what_came_while_this_process_had_to_wait_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    dial = talk._dial

    def slowly(question: talk.Question) -> Any:
        talking = dial(question)
        time.sleep(0.1)
        return talking

    monkeypatch.setattr(talk, "_dial", slowly)
    with listener() as port:
        question = talk.Question(("127.0.0.1", port), ())
        talk.ask_all([question], 0.05, 0.0)
    assert (question.error, question.connect_s is not None) == ("", True)
