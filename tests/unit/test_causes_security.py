# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Logins, ACL files and certificates: what shows that somebody is not let in, and what does not."""

from __future__ import annotations

from typing import Any

from estates import NOW, Estate

DAY = 86400
AUTH = "auth: invalid username-password pair or user is disabled."


def test_a_refused_look_is_no_dead_server() -> None:
    one = Estate().refuse("redis2", AUTH)
    assert one.findings()["login_refused", "redis2"]["severity"] == "warning"
    assert one.diagnose()["verdict"] == "impaired"
    every = Estate()
    for name in every.names:
        every.refuse(name, AUTH)
    diagnosis = every.diagnose()
    assert (diagnosis["verdict"], diagnosis["plan"]["actions"]) == ("blind", [])
    assert [(found["id"], found["where"]) for found in diagnosis["findings"]] == [("login_refused", "redis")]


def test_a_primary_that_refuses_the_look_is_not_failed_over() -> None:
    diagnosis = Estate().refuse("redis1", AUTH).diagnose()
    assert diagnosis["plan"]["actions"] == []
    dead = Estate().kill("redis1").diagnose()
    assert dead["plan"]["actions"], "a dead one is"


def test_the_applications_login() -> None:
    used = {"reachable": False, "error": AUTH, "role": ""}
    estate = Estate().application(application=used)
    finding = estate.findings(applications=["app1"])["application_login_refused", "app1"]
    assert finding["severity"] == "critical"
    assert [item["id"] for item in finding["consequences"]] == ["application_cut_off"]
    assert Estate().application().findings(applications=["app1"]) == {}


def test_a_client_that_is_refused_again_and_again() -> None:
    def refused(**changes: Any) -> Estate:
        row = {"reason": "command", "object": "flushall", "user": "application", "count": 9, "age_s": 4.0}
        entry = {**row, "address": "192.0.2.21", "name": "", **changes}
        return Estate().look("redis1", server={"reachable": True, "acl_log": [entry]})

    assert "flushall" in refused().findings()["clients_refused", "redis1"]["evidence"][0]
    assert refused(age_s=4000.0).findings() == {}, "that is history"
    assert refused().findings(fresh=3.0) == {}, "that was before the last step of a recovery"
    assert refused().findings(fresh=5.0) != {}
    assert refused(count=1).findings() == {}, "that is a slip"
    assert refused(address="192.0.2.2").findings() == {}, "a peer's trouble has causes of its own"


def test_an_acl_file_that_stops_the_start() -> None:
    line = "Aborting Redis startup because of ACL errors: /etc/redis/users-main.acl:1: Error in applying operation"
    estate = Estate().kill("redis2").log("redis2", "acl_error", line)
    finding = estate.findings()["acl_file_bad", "redis2"]
    assert "process_dead" in [item["id"] for item in finding["consequences"]]
    assert ("acl_file_bad", "redis2") not in Estate().kill("redis2").findings()
    repaired = Estate().log("redis2", "acl_error", line, ago=300)
    assert ("acl_file_bad", "redis2") not in repaired.findings(), "it runs again"


def test_an_acl_file_that_is_gone_while_the_server_runs() -> None:
    def with_file(exists: bool) -> Estate:
        estate = Estate()
        estate.evidence["redis2"]["files"]["aclfile"] = {"path": "/etc/redis/users.acl", "exists": exists}
        return estate

    assert with_file(False).findings()["acl_file_bad", "redis2"]["severity"] == "warning"
    assert with_file(True).findings() == {}


def certificates(
    estate: Estate, name: str = "redis1", served: float = 300, file: float = 300, same: bool = True, **more: Any
) -> Estate:
    """A host's certificates, by the days that they are still good for."""

    def dates(days: float) -> dict[str, float]:
        return {"not_before": NOW - 400 * DAY, "not_after": NOW + days * DAY}

    shown = {"port": 6379, "error": "", "same": same, **dates(served)}
    on_disk = {"path": "/etc/redis/tls/server.crt", "error": "", "key_fits": True, **dates(file), **more}
    return estate.look(name, tls={"file": on_disk, "ports": {"server": shown}})


def test_an_expired_certificate_explains_who_is_not_let_in() -> None:
    error = "tls: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired"
    estate = certificates(Estate().refuse("redis1", error), served=-1, file=-1)
    finding = estate.findings()["certificate_expired", "redis1"]
    assert finding["severity"] == "critical"
    assert list(estate.findings()) == [("certificate_expired", "redis1")]
    assert estate.diagnose()["plan"]["verdict"] == "refused"
    assert certificates(Estate()).findings() == {}


def test_the_end_comes_near() -> None:
    assert (
        certificates(Estate(), served=5, file=5).findings()["certificate_expiring", "redis1"]["severity"] == "warning"
    )
    assert certificates(Estate(), served=20, file=20).findings()["certificate_expiring", "redis1"]["severity"] == "info"
    assert certificates(Estate(), served=60, file=60).findings() == {}


def test_a_certificate_that_was_renewed_on_disk_only() -> None:
    assert ("certificate_not_served", "redis1") in certificates(Estate(), served=40, file=400, same=False).findings()


def test_a_key_that_does_not_fit() -> None:
    running = certificates(Estate(), key_fits=False).findings()
    assert running["certificate_key_mismatch", "redis1"]["severity"] == "warning"
    stopped = certificates(Estate().kill("redis1"), key_fits=False).findings()["certificate_key_mismatch", "redis1"]
    assert stopped["severity"] == "critical"
    assert "process_dead" in [item["id"] for item in stopped["consequences"]]
    encrypted = certificates(Estate(), key_fits=None)
    assert encrypted.findings() == {}, "nobody knows"


def test_whose_trust_it_is() -> None:
    error = "tls: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate"
    every = certificates(Estate().refuse("redis2", error), "redis2")
    assert ("certificate_untrusted", "redis2") in every.findings()
    one = certificates(Estate().cut("redis3", "redis2", error=error), "redis2")
    assert ("certificate_untrusted", "redis3") in one.findings()
