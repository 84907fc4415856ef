# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One mutation a control. ``victim`` is a replica of the lab; nothing here reaches the machine's own kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator

from base import Expect, mutation
from lab import UNIT, Lab, wait_for

CONF = "/etc/redis/redis-main.conf"
ACL = "/etc/redis/users-main.acl"
SENTINEL_ACL = "/etc/redis/users-sentinel.acl"
DATA = "/var/lib/redis/main"
SOCKET = "/run/redis-main/redis.sock"
CA = "/etc/redis/tls/ca.crt"
KEY = "/etc/redis/tls/server.key"
DROP_IN = f"/etc/systemd/system/{UNIT}.d"
SENTINEL_PORT = 26379
ALL = ("redis1", "redis2", "redis3")


def sh(lab: Lab, host: str, script: str) -> str:
    """A shell script on a host; it ends the run when it fails."""
    return lab.on(host, "sh", "-ec", script)


def asked(lab: Lab, host: str, *command: str, port: int = 6379) -> str:
    """A command that must not be refused; to the server through its socket, where nothing is in the way."""
    where = ["-s", SOCKET] if port == 6379 else ["-h", "127.0.0.1", "-p", str(port), "--tls", "--cacert", CA]
    secret = {"REDISCLI_AUTH": str(lab.variables["redis_password_operator"])}
    tool = ("redis-cli", *where, "--user", "operator", "--no-auth-warning", *command)
    said = lab.on(host, *tool, check=False, env=secret).strip()
    if not said or said.startswith(("ERR", "NO", "WRONG", "DENIED", "(error)")):
        raise RuntimeError(f"{host}: {' '.join(command)}: {said}")
    return said


def setting(control: str, name: str, value: str, also: tuple[str, ...] = (), quick: bool = False) -> None:
    """A mutation by CONFIG SET, which drifts from the file as well."""

    def mutate(lab: Lab, victim: str) -> Iterator[Expect]:
        before = asked(lab, victim, "CONFIG", "GET", name).split("\n")[1]
        asked(lab, victim, "CONFIG", "SET", name, value)
        yield Expect((victim,), ("RDS-043", *also))
        asked(lab, victim, "CONFIG", "SET", name, before)

    mutation(control, repaired=True, quick=quick)(mutate)


def user(
    control: str, name: str, *rules: str, also: tuple[str, ...] = (), repaired: bool = True, quick: bool = False
) -> None:
    """A mutation by ACL SETUSER."""

    def mutate(lab: Lab, victim: str) -> Iterator[Expect]:
        asked(lab, victim, "ACL", "SETUSER", name, *rules)
        yield Expect((victim,), also)
        asked(lab, victim, "ACL", "LOAD")

    mutation(control, repaired=repaired, quick=quick)(mutate)


def shell(control: str, do: str, undo: str, repaired: bool = False, also: tuple[str, ...] = ()) -> None:
    """A mutation of a host's files or units."""

    def mutate(lab: Lab, victim: str) -> Iterator[Expect]:
        sh(lab, victim, do)
        yield Expect((victim,), also)
        sh(lab, victim, undo)

    mutation(control, repaired=repaired)(mutate)


def watching(control: str, name: str, value: str, good: str, where: str = "") -> None:
    """A mutation of one sentinel by SENTINEL SET."""

    def mutate(lab: Lab, victim: str) -> Iterator[Expect]:
        asked(lab, victim, "SENTINEL", "SET", "redis", name, value, port=SENTINEL_PORT)
        yield Expect((where or victim,))
        asked(lab, victim, "SENTINEL", "SET", "redis", name, good, port=SENTINEL_PORT)

    mutation(control, repaired=True)(mutate)


def restarted(lab: Lab, victim: str, script: str) -> None:
    """Change a server's file and start it again; wait until it follows."""
    sh(lab, victim, f"systemctl stop {UNIT}; {script}; systemctl start {UNIT}")
    wait_for(lambda: "master_link_status:up" in lab.redis(victim, "INFO", "replication"), f"{victim} following", 60)


def faked(path: str, text: str) -> tuple[str, str]:
    """(cover a file of the kernel's with another text, take that away): the kernel itself does not notice."""
    name = "/run/fake-" + path.strip("/").replace("/", "-")
    return f"printf '%s\\n' '{text}' > {name}; mount --bind {name} {path}", f"umount {path}; rm -f {name}"


user("RDS-001", "default", "on", "nopass", "resetkeys", "resetchannels", "-@all", quick=True)
setting("RDS-002", "protected-mode", "no", quick=True)


@mutation("RDS-003", repaired=True)
def another_address(lab: Lab, victim: str) -> Iterator[Expect]:
    before = asked(lab, victim, "CONFIG", "GET", "bind").split("\n")[1]
    asked(lab, victim, "CONFIG", "SET", "bind", f"{before} 127.0.0.9")
    yield Expect((victim,), ("RDS-043",))
    asked(lab, victim, "CONFIG", "SET", "bind", before)


shell("RDS-004", "nft delete table inet lifeline_redis", "systemctl restart redis-firewall", repaired=True)


@mutation("RDS-005", repaired=True)
def user_is_gone(lab: Lab, victim: str) -> Iterator[Expect]:
    asked(lab, victim, "ACL", "DELUSER", "application")
    yield Expect((victim,))
    asked(lab, victim, "ACL", "LOAD")


user("RDS-006", "application", "+save", quick=True)
user("RDS-007", "sentinel", "+get")
user("RDS-008", "application", "&__sentinel__:hello")
user("RDS-009", "replica", "+get")
shell("RDS-010", f"echo 'user plain off >a-password-that-stands-here resetchannels -@all' >> {ACL}",
      f"sed -i '/^user plain /d' {ACL}", repaired=True)  # fmt: skip
user("RDS-011", "application", ">password", repaired=False)


@mutation("RDS-012", repaired=True)
def other_password(lab: Lab, victim: str) -> Iterator[Expect]:
    asked(lab, victim, "CONFIG", "SET", "masterauth", "of-an-earlier-time-0123456789abcdef")
    yield Expect(("redis",), ("RDS-043",))
    asked(lab, victim, "CONFIG", "SET", "masterauth", str(lab.variables["redis_password_replica"]))


setting("RDS-013", "port", "6380", also=("RDS-004",))
setting("RDS-014", "tls-protocols", "TLSv1.1 TLSv1.2 TLSv1.3")
shell("RDS-015", f"cp -p /etc/redis/tls/server.crt /run/kept.crt; cat {CA} > /etc/redis/tls/server.crt",
      "cat /run/kept.crt > /etc/redis/tls/server.crt; rm /run/kept.crt")  # fmt: skip
shell("RDS-016", f"chmod 0644 {KEY}", f"chmod 0640 {KEY}", repaired=True)


@mutation("RDS-017", apart=True)
def debugging(lab: Lab, victim: str) -> Iterator[Expect]:
    restarted(lab, victim, f"sed -i 's/^enable-debug-command .*/enable-debug-command yes/' {CONF}")
    yield Expect((victim,), ("RDS-043",))
    restarted(lab, victim, f"sed -i 's/^enable-debug-command .*/enable-debug-command no/' {CONF}")


shell("RDS-019", f"echo 'rename-command FLUSHALL \"\"' >> {CONF}", f"sed -i '/^rename-command /d' {CONF}")
shell("RDS-020", f"printf '[Service]\\nProtectSystem=no\\n' > {DROP_IN}/zz-open.conf; systemctl daemon-reload",
      f"rm {DROP_IN}/zz-open.conf; systemctl daemon-reload")  # fmt: skip
shell("RDS-021", f"chmod 0755 {DATA}", f"chmod 0750 {DATA}", repaired=True)
# An archive on the host itself that has a newer server.
_LIST = "/etc/apt/sources.list.d/newer.list"
_APT = f"apt-get -q update -o Dir::Etc::sourcelist={_LIST} -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0"
_PACKAGE = ("Package: redis-server", "Version: 99:1", "Architecture: amd64", "Maintainer: x <x@example.org>",
            "Description: newer", "Filename: ./x.deb", "Size: 1", f"SHA256: {'0' * 64}", "")  # fmt: skip
_WRITE = "printf '%s\\n' " + " ".join(repr(line) for line in _PACKAGE) + " > /srv/newer/Packages"
shell("RDS-022", f"mkdir -p /srv/newer; {_WRITE}; echo 'deb [trusted=yes] file:/srv/newer ./' > {_LIST}; {_APT}",
      f"rm -rf /srv/newer {_LIST} /var/lib/apt/lists/_srv_newer_*")  # fmt: skip
shell("RDS-023", f"prlimit --pid $(systemctl show -P MainPID {UNIT}) --nofile=1000:11024",
      f"prlimit --pid $(systemctl show -P MainPID {UNIT}) --nofile=11024:11024")  # fmt: skip
setting("RDS-024", "maxmemory", "0", quick=True)
setting("RDS-025", "maxmemory-policy", "allkeys-lru")


@mutation("RDS-026", repaired=True)
def nothing_on_disk(lab: Lab, victim: str) -> Iterator[Expect]:
    before = asked(lab, victim, "CONFIG", "GET", "save").split("\n")[1]
    asked(lab, victim, "CONFIG", "SET", "save", "", "appendonly", "no")
    yield Expect((victim,), ("RDS-030", "RDS-043"))
    asked(lab, victim, "CONFIG", "SET", "save", before, "appendonly", "yes")
    wait_for(lambda: "aof_rewrite_in_progress:0" in lab.redis(victim, "INFO", "persistence"), "a written file", 30)


setting("RDS-027", "appendfsync", "no")
setting("RDS-028", "stop-writes-on-bgsave-error", "no")


@mutation("RDS-029", apart=True)
def failed_save(lab: Lab, victim: str) -> Iterator[Expect]:
    """A folder where the file should be. A replica that copied everything now would fail forever, so this is alone.

    Redis 7.0 ends a replica whose save failed at the primary's next command, unless it is told to ignore that.
    """

    def saved(how: str) -> None:
        asked(lab, victim, "BGSAVE")
        wait_for(
            lambda: f"rdb_last_bgsave_status:{how}" in asked(lab, victim, "INFO", "persistence"), f"save {how}", 30
        )

    asked(lab, victim, "CONFIG", "SET", "replica-ignore-disk-write-errors", "yes")
    sh(lab, victim, f"cd {DATA}; test ! -e dump.rdb || mv dump.rdb kept.rdb; mkdir dump.rdb; touch dump.rdb/x")
    try:
        saved("err")
        yield Expect((victim,))
    finally:
        sh(lab, victim, f"cd {DATA}; rm -r dump.rdb; test ! -e kept.rdb || mv kept.rdb dump.rdb")
        saved("ok")
        asked(lab, victim, "CONFIG", "SET", "replica-ignore-disk-write-errors", "no")


shell("RDS-030", f"sed -i 's/^appendonly .*/appendonly no/' {CONF}",
      f"sed -i 's/^appendonly .*/appendonly yes/' {CONF}", repaired=True, also=("RDS-043",))  # fmt: skip


@mutation("RDS-031", apart=True)
def no_backup(lab: Lab, victim: str) -> Iterator[Expect]:
    yield Expect(ALL, options=("-e", "redis_compliance_backup_record=/var/lib/lifeline/no-such-record.json"))


@mutation("RDS-032", apart=True)
def cut_off_primary(lab: Lab, victim: str) -> Iterator[Expect]:
    yield Expect(ALL, ("HST-006",), ("-e", json.dumps({"compliance_waivers": []})))


@mutation("HST-006", apart=True)
def one_filesystem(lab: Lab, victim: str) -> Iterator[Expect]:
    yield Expect(ALL, ("RDS-032",), ("-e", json.dumps({"compliance_waivers": []})))


setting("RDS-033", "repl-backlog-size", "1mb")
setting("RDS-034", "client-output-buffer-limit", "replica 32mb 16mb 60")
setting("RDS-035", "replica-read-only", "no")


@mutation("RDS-036")
def other_priority(lab: Lab, victim: str) -> Iterator[Expect]:
    asked(lab, victim, "CONFIG", "SET", "replica-priority", "7")
    yield Expect(("redis",))
    asked(lab, victim, "CONFIG", "SET", "replica-priority", "100")


watching("RDS-037", "quorum", "1", "2", "redis")


@mutation("RDS-038")
def a_sentinel_too_many(lab: Lab, victim: str) -> Iterator[Expect]:
    """A hello message of a sentinel that does not exist, as one leaves behind that was taken away."""
    primary = lab.primary()
    address = lab.addresses[primary]
    ghost = f"{address.rpartition('.')[0]}.99,26379,{'0' * 39}1,0,redis,{address},6379,0"
    asked(lab, primary, "PUBLISH", "__sentinel__:hello", ghost)
    yield Expect(("redis",))
    for host in ALL:
        asked(lab, host, "SENTINEL", "RESET", "redis", port=SENTINEL_PORT)
        wait_for(lambda name=host: _complete(lab, name), f"{host} knowing everybody again", 60)


def _complete(lab: Lab, host: str) -> bool:
    words = asked(lab, host, "SENTINEL", "MASTER", "redis", port=SENTINEL_PORT).split("\n")
    said = dict(zip(words[::2], words[1::2], strict=False))
    return (said.get("num-slaves"), said.get("num-other-sentinels")) == ("2", "2")


watching("RDS-040", "down-after-milliseconds", "1000", "5000")
watching("RDS-041", "failover-timeout", "180000", "60000")
shell("RDS-042", f"sed -i 's/^user default off/user default on nopass/' {SENTINEL_ACL}",
      f"sed -i 's/^user default on nopass/user default off/' {SENTINEL_ACL}", repaired=True)  # fmt: skip


@mutation("RDS-043", repaired=True, quick=True)
def drifted(lab: Lab, victim: str) -> Iterator[Expect]:
    asked(lab, victim, "CONFIG", "SET", "tcp-keepalive", "61")
    yield Expect((victim,))
    asked(lab, victim, "CONFIG", "SET", "tcp-keepalive", "60")


setting("RDS-044", "slowlog-log-slower-than", "-1")
setting("RDS-045", "loglevel", "debug")


@mutation("RDS-046", quick=True)
def refused(lab: Lab, victim: str) -> Iterator[Expect]:
    lab.on(victim, "redis-cli", "-s", SOCKET, "AUTH", "nobody", "wrong", check=False)
    yield Expect((victim,))
    asked(lab, victim, "ACL", "LOG", "RESET")


@mutation("RDS-048")
def told_to_pause(lab: Lab, victim: str) -> Iterator[Expect]:
    primary = lab.primary()
    asked(lab, primary, "SET", "rq:suspended", "1")
    yield Expect(("redis",))
    asked(lab, primary, "DEL", "rq:suspended")


_STOP = f"sed -i 's/^TimeoutStopSec=.*/TimeoutStopSec=%s/' {DROP_IN}/lifeline.conf; systemctl daemon-reload"
shell("RDS-049", _STOP % "infinity", _STOP % "120", repaired=True)
user("RDS-050", "application", "+keys", also=("RDS-006",))
shell("HST-001", *faked("/proc/sys/vm/overcommit_memory", "0"), repaired=True)


@mutation("HST-002", apart=True)
def huge_pages(lab: Lab, victim: str) -> Iterator[Expect]:
    do, undo = faked("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never")
    restarted(lab, victim, f"sed -i 's/^disable-thp .*/disable-thp no/' {CONF}")
    sh(lab, victim, do)
    yield Expect((victim,), ("RDS-043",))
    sh(lab, victim, undo)
    restarted(lab, victim, f"sed -i 's/^disable-thp .*/disable-thp yes/' {CONF}")


shell("HST-003", "sysctl -qw net.core.somaxconn=128", "sysctl -qw net.core.somaxconn=4096", repaired=True)
_JOURNAL = "/etc/systemd/journald.conf.d/volatile.conf"
shell(
    "HST-009",
    f"mkdir -p {_JOURNAL.rpartition('/')[0]}; printf '[Journal]\\nStorage=volatile\\n' > {_JOURNAL}",
    f"rm {_JOURNAL}",
)
shell("HST-010", *faked("/proc/sys/net/netfilter/nf_conntrack_count", "999999999"))


@mutation("HST-011", apart=True)
def no_baseline(lab: Lab, victim: str) -> Iterator[Expect]:
    yield Expect(ALL, options=("-e", "redis_compliance_baseline=/var/lib/lifeline/no-such-report.json"))
