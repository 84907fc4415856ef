# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules as ansible-playbook packs and runs them, with the oldest redis-py as well."""

from __future__ import annotations

import json
import re
import sys

import pytest
from modules import ansible, run_playbook


def test_a_playbook_requeues_and_hides_the_url(redis_server, tmp_path):
    server = redis_server(users={"default": ("s3cret #1", "~* &* +@all")})
    login = {
        "url": f"redis://:s3cret%20%231@127.0.0.1:{server.port}/0",
        "queues": ["default"],
    }
    admin = server.client(decode_responses=False)
    admin.sadd("rq:queues", "rq:queue:default")
    admin.zadd("rq:failed:default", {"a": 2e9})
    admin.hset("rq:job:a", mapping={"status": "failed", "origin": "default", "created_at": "x", "data": "x"})
    tasks = [
        {"rq_requeue": {**login, "all_jobs": True}, "register": "put_back"},
        {"rq_info": login, "register": "seen"},
        {
            "ansible.builtin.assert": {
                "that": ["put_back.requeued == 1", "seen.queues.default.length == 1", "seen.queues.default.failed == 0"]
            }
        },
    ]
    done = run_playbook([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}], tmp_path, "-vvv", "--diff")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_both_ends_of_redis_py(run_module, server):
    client = server.client()
    client.sadd("rq:queues", "rq:queue:default")
    client.zadd("rq:failed:default", {f"j{number}": 2e9 + number for number in range(600)})
    for number in range(600):
        client.hset(f"rq:job:j{number}", mapping={"status": "failed", "origin": "default", "created_at": "x"})
    options = {**server.login(), "queues": ["default"], "all_jobs": True}
    assert run_module("rq_requeue", options, check=True)["requeued"] == 600
    assert run_module("rq_requeue", options)["requeued"] == 600
    assert run_module("rq_info", server.login())["queues"]["default"]["length"] == 600
    assert client.lrange("rq:queue:default", 0, -1) == [f"j{number}" for number in range(600)]


def failed(server, count):
    """That many failed jobs that no RQ ever ran."""
    client = server.client()
    client.sadd("rq:queues", "rq:queue:default")
    for number in range(count):
        values = {"status": "failed", "origin": "default", "created_at": "x", "ended_at": "2026-11-23T03:00:00.000000Z"}
        client.hset(f"rq:job:j{number}", mapping=values)
        client.zadd("rq:failed:default", {f"j{number}": 2e9 + number})
    client.hset("rq:job:j0", "status", "stopped")


def requeue_yml(server, *extra, playbook="playbooks/requeue.yml", url="redis://127.0.0.1:{port}"):
    return ansible(
        "ansible-playbook", "-i", "inventories/endpoint-only", playbook, *extra,
        env={"REDIS_URL": url.format(port=server.port)},
    )  # fmt: skip


def test_the_playbook_shows_what_is_lost_and_changes_nothing(server):
    failed(server, 5)
    done = requeue_yml(server)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 jobs can be put back" in done.stdout
    assert "Nothing was changed" in done.stdout
    assert "changed=0" in done.stdout
    assert server.client().llen("rq:queue:default") == 0


def test_the_playbook_puts_back_what_is_selected_and_says_how_far_it_is(server):
    failed(server, 150)
    selected = ["-e", "requeue_failed_after=2026-11-23T02:00:00Z", "-e", "requeue_hold=true", "--diff"]
    check = requeue_yml(server, *selected, "--check")
    assert check.returncode == 0, check.stdout + check.stderr
    assert "149 jobs would be put back" in check.stdout
    assert server.client().llen("rq:queue:default") == 0
    done = requeue_yml(server, *selected, "-e", "requeue_rate=40")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "149 jobs were put back" in done.stdout
    assert "1  stopped: A person stopped it" in done.stdout
    assert re.search(r"rq_requeue on endpoint: \d+ of 150 jobs \(\d+ %\), \d+ put back, \d+/s, \d+ s left", done.stdout)
    assert "changed=2" in done.stdout, "held, then put back"
    assert server.client().llen("rq:queue:default") == 149


def test_the_playbook_holds_and_releases(server):
    failed(server, 5)
    client = server.client()
    for number in range(5):
        client.expire(f"rq:job:j{number}", 900)

    def hold_yml(*extra):
        return requeue_yml(server, *extra, playbook="playbooks/hold.yml")

    check = hold_yml("--check", "--diff")
    assert (check.returncode, client.ttl("rq:job:j1") > 0) == (0, True), check.stdout
    assert "5 jobs would be held" in check.stdout
    assert "changed=1" in hold_yml().stdout
    assert client.ttl("rq:job:j1") == -1
    assert "changed=0" in hold_yml().stdout
    released = hold_yml("-e", "hold_release=true").stdout
    assert "5 jobs released" in released
    assert 0 < client.ttl("rq:job:j1") <= 3600
    assert "0 jobs held" in hold_yml("-e", "requeue_failed_after=2026-11-23T04:00:00Z").stdout, "none failed since"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://:s3cret-one@127.0.0.1:{port}", "Check login_user and login_password"),
        ("redis://:s3cret-one@127.0.0.1:1", "127.0.0.1:1"),
        ("redis:/s3cret-one", "URL is not valid"),
    ],
    ids=["wrong password", "nobody there", "no url"],
)
def test_an_endpoint_that_cannot_be_used_is_one_sentence(redis_server, url, words):
    server = redis_server(users={"default": ("another", "~* &* +@all")})
    done = requeue_yml(server, "-e", "requeue_all_jobs=true", "-e", "requeue_ready_timeout=1", url=url)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 2, said
    assert words in said
    assert "s3cret-one" not in said
    assert "Traceback" not in said


def test_the_playbook_sees_to_each_estate_of_an_inventory(redis_server, tmp_path):
    users = {"default": ("root", "~* &* +@all"), "operator": ("op w#%", "~* &* +@all")}
    servers = {name: redis_server(users=users) for name in ("orders", "mail")}
    for server in servers.values():
        failed(server, 5)
    hosts = {
        name: {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_become": False,
            "redis_estate": name,
            "redis_address": "127.0.0.1",
            "redis_port": server.port,
            "redis_tls_enabled": False,
            "redis_password_operator": "op w#%",
        }
        for name, server in servers.items()
    }
    hosts["mail"]["redis_password_operator"] = "wrong"
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"children": {"redis": {"hosts": hosts}}}}))
    done = ansible("ansible-playbook", "-i", str(inventory), "playbooks/requeue.yml", "-e", "requeue_all_jobs=true")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "auth" in done.stdout + done.stderr, "one estate refuses the login"
    assert servers["orders"].client().llen("rq:queue:default") == 4, "the other one is seen to all the same"
    assert servers["mail"].client().llen("rq:queue:default") == 0
