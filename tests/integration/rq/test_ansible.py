# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules as ansible-playbook packs and runs them, with the oldest redis-py as well."""

from __future__ import annotations

from modules import run_playbook


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
