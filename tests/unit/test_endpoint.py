# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""redis_endpoint: what the checks send, how servers are named, and what a unit needs."""

from __future__ import annotations

import subprocess

import pytest
from lifeline.act import endpoint
from lifeline.act.endpoint import identity, needed, resp, servers
from lifeline.errors import LifelineError


@pytest.mark.parametrize("password", ["simple", 'o b\'s "q" # \\ % $x', "pässwörd 🔑", "", "line\r\nbreak"])
def test_a_request_says_its_length_in_bytes(password):
    wire = bytes.fromhex(resp(["AUTH", "observer", password]))
    data = password.encode()
    assert wire == b"*3\r\n$4\r\nAUTH\r\n$8\r\nobserver\r\n$%d\r\n%s\r\n" % (len(data), data)


def test_requests_follow_each_other():
    assert (
        bytes.fromhex(resp(["INFO", "replication"], ["QUIT"]))
        == b"*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n*1\r\n$4\r\nQUIT\r\n"
    )


def test_servers_have_names_that_haproxy_accepts_each_once():
    nodes = [
        {"name": "db 1", "host": "10.0.0.1", "port": 6379},
        {"name": "db/1", "host": "fd00::1", "port": 6380},
        {"name": "db-2.example.com", "host": "db-2.example.com", "port": 6379},
    ]
    assert [(one["name"], one["address"]) for one in servers(nodes)] == [
        ("db_1", "10.0.0.1:6379"),
        ("db_1_1", "[fd00::1]:6380"),
        ("db-2.example.com", "db-2.example.com:6379"),
    ]
    assert [one["node"] for one in servers(nodes)] == ["db 1", "db/1", "db-2.example.com"]


@pytest.mark.parametrize(
    ("state", "unit_changed", "current", "action"),
    [
        ("disabled, inactive\n", True, False, "start"),
        ("enabled, failed\n", False, False, "start"),
        ("enabled, active\n", True, True, "restart"),
        ("enabled, active\n", False, False, "reload"),
        ("disabled, active\n", False, True, "enable"),
        ("enabled, active\n", False, True, ""),
    ],
)
def test_what_the_unit_needs(state, unit_changed, current, action):
    assert needed(state, unit_changed, current) == action


def test_the_mark_changes_with_configuration_and_ca():
    one = {"config": "a", "ca": "b"}
    assert identity(one) == identity(dict(one))
    assert len({identity(one), identity({**one, "config": "x"}), identity({**one, "ca": None})}) == 3


def test_a_complaint_of_haproxy_holds_no_password(monkeypatch):
    secret = resp(["AUTH", "observer", "hush"])
    said = (
        "[NOTICE]   (7) : haproxy version is 2.6\n"
        f"[ALERT]    (7) : config : parsing [/dev/stdin:9] : unknown keyword 'tcp-chek' in 'tcp-chek {secret}'\n"
        "[ALERT]    (7) : config : Fatal errors found in configuration.\n"
    )
    done = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(endpoint.commands, "call", lambda *argv, text: done)
    with pytest.raises(LifelineError, match=r"haproxy\.cfg:9\] : unknown keyword 'tcp-chek'") as raised:
        endpoint._refuse_invalid({"config": "x"}, "0")
    assert secret not in str(raised.value)
    assert "found in configuration" not in str(raised.value)
