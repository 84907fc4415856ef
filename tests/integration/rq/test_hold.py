# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""rq_hold: failed jobs outlive their failure_ttl, until they are released or requeued."""

from __future__ import annotations

import time

from rqlab import everything, fail, ran


def test_held_jobs_survive_their_ttl_and_rqs_cleanup(rq, client, module):
    parent = fail(rq, client, 1, prefix="p", failure_ttl=2)[0]
    rq.enqueue(prefix="child", depends_on=parent)
    client.expire("rq:job:p00000:dependents", 2)
    before = everything(client)
    assert module.hold(check=True)["held"] == 1
    assert everything(client) == before
    result = module.hold()
    assert (result["held"], result["changed"], result["gone"]) == (1, True, 0)
    again = module.hold()
    assert (again["held"], again["unchanged"], again["changed"]) == (0, 1, False)
    time.sleep(2.1)  # longer than failure_ttl, which is what this is about
    rq.clean()
    assert client.zcard("rq:failed:default") == 1
    assert module.requeue()["requeued"] == 1
    assert not client.hexists("rq:job:" + parent, "lifeline_held"), "requeued, it is held no more"
    rq.work()
    rq.work()
    assert ran(client) == {parent: 1, "child00000": 1}


def test_what_is_gone_is_counted(rq, client, module):
    ids = fail(rq, client, 3)
    client.delete("rq:job:" + ids[0])
    result = module.hold()
    assert (result["held"], result["gone"]) == (2, 1)


def test_release_gives_the_times_back(rq, client, module):
    ids = fail(rq, client, 5, failure_ttl=7200)
    order = client.zrange("rq:failed:default", 0, -1, withscores=True)
    module.hold(batch_size=2)
    assert {client.ttl("rq:job:" + job_id) for job_id in ids} == {-1}
    assert [name for name, _ in order] == client.zrange("rq:failed:default", 0, -1)
    result = module.hold(state="released", batch_size=2)
    assert (result["released"], result["changed"]) == (5, True)
    assert client.zrange("rq:failed:default", 0, -1, withscores=True) == order
    assert all(7190 < client.ttl("rq:job:" + job_id) <= 7200 for job_id in ids)
    assert not module.hold(state="released")["changed"]


def test_a_release_leaves_an_hour(rq, client, module):
    (job_id,) = fail(rq, client, 1, failure_ttl=60)
    module.hold()
    module.hold(state="released")
    assert 3590 < client.ttl("rq:job:" + job_id) <= 3600
    assert client.zscore("rq:failed:default", job_id) > time.time() + 3590


def test_a_window_holds_what_failed_in_it(rq, client, module):
    fail(rq, client, 2)
    between = time.time() + 0.01
    time.sleep(0.02)
    late = fail(rq, client, 1)
    assert module.hold(all_jobs=False, failed_after=str(between))["held"] == 1
    assert client.ttl("rq:job:" + late[0]) == -1
    # The window still finds a held job, by its place in the registry too.
    client.hset("rq:job:" + late[0], "ended_at", "")
    client.delete("rq:results:" + late[0])
    assert module.requeue(all_jobs=False, failed_after=str(between))["job_ids"] == late
