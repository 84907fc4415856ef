# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The server's process and its host: gone, dead, killed, stopped, hung, slow to start."""

from __future__ import annotations

from typing import Iterator, Optional

from ...common.facts import Facts
from ..case import Case, Server
from ..log_evidence import down, end_of_life, last_words, sample, samples
from .base import CERTAIN, CRITICAL, EVERYBODY, INFO, LIKELY, WARNING, Cause, Match

# What a server that is gone shows in elsewhere, up to the applications' jobs.
APPLICATIONS = ("application_cut_off", "units_unwell", "queue_unattended", "workers_gone", "endpoint_blind")
SYMPTOMS = ("server_silent", "server_down", "replica_link_down", "no_primary", "sentinel_silent", *APPLICATIONS)

# How the death of a process shows; whatever says why it died explains these.
DEATHS = ("process_dead", "start_limit", "process_restarted", *SYMPTOMS)

# Lines of the journal that tell of a process's end.
ENDS = ("killed", "dumped", "exited")

# A restart is news for this long, in seconds; and as many ends in the window of the logs are a loop.
NEWS_S = 900.0
LOOP = 3

# The kernel's line about a process that it killed and systemd's about the same lie this close together, in seconds.
SAME_MOMENT_S = 5.0


def grade(case: Case, server: Server) -> str:
    """A fault of the only primary is critical, of a replica a warning."""
    last = case.last_primary
    return CRITICAL if last is not None and server.name == last.name else WARNING


def reach(case: Case, server: Server) -> tuple[str, ...]:
    """Whom a dead server troubles: everybody when it is the primary."""
    return (EVERYBODY,) if grade(case, server) == CRITICAL else ()


def unit_line(server: Server) -> str:
    """systemd's word about a server, as evidence."""
    unit = server.unit
    return (
        f"{server.name} {unit.text('name')}: {unit.text('active')}/{unit.text('sub')}, result {unit.text('result')}, "
        f"restarts {unit.count('restarts')}"
    )


def peers_say(case: Case, server: Server) -> list[str]:
    """What its replicas say of a primary: it is dead only if they agree."""
    return [
        f"{other.name}: link to {server.name} is {'up' if other.node.link_up else 'down'}"
        + (f" for {other.view.count('primary.link_down_s')} s" if not other.node.link_up else "")
        for other in case.followers(server.name)
    ]


def _host_gone(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if server.host is None and not server.alive and server.name not in case.unasked:
            lines = [case.silence(server.name)]
            lines += [f"{host}: {server.name} does not answer ({server.error})" for host in server.node.missed_by]
            sure = CERTAIN if server.node.missed_by else LIKELY
            yield Match(server.name, (*lines, *peers_say(case, server)), reach(case, server), grade(case, server), sure)


def _application_host_gone(case: Case) -> Iterator[Match]:
    silent = case.silent_applications
    alone = len(silent) == len(case.applications)
    for name in silent:
        yield Match(name, (case.silence(name),), (EVERYBODY,) if alone else ())


def _process_dead(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if down(server):
            lines = (unit_line(server), *samples(server, *ENDS), *peers_say(case, server))
            yield Match(server.name, lines, reach(case, server), grade(case, server))


def _start_limit(case: Case) -> Iterator[Match]:
    for server in case.servers:
        found = last_words(server, "start_limit")
        if down(server) and found and server.unit.text("active") == "failed":
            lines = (*sample(server, found), *samples(server, *ENDS), unit_line(server))
            yield Match(server.name, lines, reach(case, server), grade(case, server))


def _crashed(case: Case) -> Iterator[Match]:
    for server in case.servers:
        found = end_of_life(server, "crash")
        if found:
            yield _death(case, server, sample(server, found))


def _oom_killed(case: Case) -> Iterator[Match]:
    for server in case.servers:
        found = _oom(server)
        if found is not None:
            yield _death(case, server, [*sample(server, found), *_limits(server)])


def _oom(server: Server) -> Optional[Facts]:
    """systemd says so, or the kernel killed a server in the moment in which this one died."""
    found = end_of_life(server, "oom_unit")
    if found or (down(server) and server.unit.text("result") == "oom-kill"):
        return found or Facts({"sample": "result oom-kill"})
    death = end_of_life(server, "killed")
    kernel = server.host.logged("kernel", "oom_server") if server.host else None
    if death and kernel and abs(death.number("last") - kernel.number("last")) <= SAME_MOMENT_S:
        return kernel
    return None


def _limits(server: Server) -> list[str]:
    limit = server.process.count("memory.limit")
    lines = [f"{server.name}: memory limit of its control group {limit} bytes"] if limit else []
    memory = server.host.section("system").sub("memory") if server.host else Facts({})
    if memory:
        lines.append(f"{server.name}: {memory.count('available')} of {memory.count('total')} bytes of memory available")
    return lines


def _death(case: Case, server: Server, why: list[str]) -> Match:
    """A death with a known reason: graded by the server while it is down, a warning once it is back."""
    severity = WARNING if server.alive else grade(case, server)
    touched = () if server.alive else reach(case, server)
    return Match(server.name, (*why, unit_line(server), *peers_say(case, server)), touched, severity)


def _restarted(case: Case) -> Iterator[Match]:
    for server in case.servers:
        uptime = server.view.number("uptime_s")
        if not server.alive or not server.unit.count("restarts") or server.node.unit_down or uptime > NEWS_S:
            continue
        ends = [found for pattern in ENDS if (found := server.logged(pattern)) is not None]
        # Deaths before somebody started it or took notice are in the log as well, and not in systemd's count.
        loop = min(sum(found.count("count") for found in ends), server.unit.count("restarts")) >= LOOP
        lines = [unit_line(server), *(line for found in ends for line in sample(server, found))]
        lines.append(f"{server.name}: up for {uptime:.0f} s, holds {server.view.count('keys')} keys")
        yield Match(server.name, tuple(lines), severity=grade(case, server) if loop else INFO)


def _start_timeout(case: Case) -> Iterator[Match]:
    for server in case.servers:
        loading = server.view.flag("loading") or server.unit.text("active") == "activating"
        found = last_words(server, "start_timeout")
        if found and (down(server) or loading):
            patience = server.unit.text("start_timeout") or "unknown"
            lines = (*sample(server, found), f"{server.name}: systemd waits {patience} for it", *_loading_lines(server))
            yield Match(server.name, (*lines, unit_line(server)), reach(case, server), grade(case, server))


def _loading(case: Case) -> Iterator[Match]:
    for server in case.servers:
        busy = server.unit.text("active") == "activating" and "loading" in server.unit.text("status").lower()
        refused = not server.alive and (busy or server.error.startswith("loading"))
        if (server.alive and server.view.flag("loading")) or refused:
            yield Match(server.name, tuple(_loading_lines(server)), reach(case, server), grade(case, server))


def _loading_lines(server: Server) -> list[str]:
    info = server.deep.sub("info")
    if "loading_loaded_perc" not in info:
        return [f"{server.name}: {server.unit.text('status') or 'loading'}"]
    share, left = info.number("loading_loaded_perc"), info.number("loading_eta_seconds")
    return [f"{server.name}: {share:.0f} % loaded, about {left:.0f} s left"]


def _stopped_by_hand(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if server.node.stopped_on_purpose and not server.alive:
            lines = (unit_line(server), f"{server.name} unit file: {server.unit.text('load')}")
            yield Match(server.name, lines, reach(case, server), grade(case, server))


def _frozen(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if not server.alive and server.process.text("state") in ("T", "t"):
            lines = (_process_line(server), f"{server.name} does not answer ({server.error})", unit_line(server))
            yield Match(server.name, (*lines, *peers_say(case, server)), reach(case, server), grade(case, server))


def _stuck_on_disk(case: Case) -> Iterator[Match]:
    for server in case.servers:
        if not server.alive and server.process.text("state") == "D" and server.process.flag("still"):
            lines = [_process_line(server), f"{server.name} does not answer ({server.error})"]
            kernel = server.host.logged("kernel", "task_hung") if server.host else None
            lines += [*sample(server, kernel, "kernel"), *peers_say(case, server)]
            yield Match(server.name, tuple(lines), reach(case, server), grade(case, server))


def _process_line(server: Server) -> str:
    process = server.process
    waits = f", waits in {process.text('waits_in')}" if process.text("waits_in") else ""
    return f"{server.name}: process {process.count('pid')} is in state {process.text('state')}{waits}"


CAUSES = (
    Cause(
        id="host_gone",
        fault="",
        title="The server's host is gone or frozen",
        severity=WARNING,
        at_risk="What the host had accepted and not yet replicated is only on its disk.",
        remedy="Let Sentinel fail over, or promote the replica with most data; bring the host back, and it rejoins.",
        avoid=(
            "Do not start another server under its address while it may still run: two primaries diverge. A "
            "frozen host resumes where it stopped and accepts writes until it is demoted."
        ),
        detect=_host_gone,
        explains=SYMPTOMS,
        task="failover",
    ),
    Cause(
        id="application_host_gone",
        fault="",
        title="An application host is gone or frozen",
        severity=WARNING,
        at_risk="Its requests, and the jobs that its workers had begun.",
        remedy="Bring the host back; its units start with it. requeue.yml then shows the jobs that its workers left.",
        avoid=(
            "Do not requeue everything before you know that the host is down: workers that still run finish their jobs."
        ),
        detect=_application_host_gone,
        explains=("workers_gone", "queue_unattended"),
    ),
    Cause(
        id="server_crashed",
        fault="F02",
        title="The server crashed by a bug or bad memory",
        severity=WARNING,
        at_risk="Writes since the last fsync or snapshot; with bad memory also what it writes from now on.",
        remedy=(
            "Keep the crash report of the log. Have another host be primary, test this one's memory (redis-server "
            "--test-memory), then let it rejoin as a replica."
        ),
        avoid=(
            "Do not keep it as primary before you have read the crash report: bad memory or a repeated bug "
            "damages the replicas too."
        ),
        detect=_crashed,
        explains=DEATHS,
    ),
    Cause(
        id="oom_killed",
        fault="F03",
        title="The kernel killed the server: out of memory",
        severity=WARNING,
        at_risk="Writes since the last fsync or snapshot, and it will happen again.",
        remedy=(
            "Have a healthy replica be primary. Set redis_server_maxmemory to at most 75 % of the memory or of the "
            "unit's limit, vm.overcommit_memory to 1, then let it rejoin."
        ),
        avoid="Do not just start it again with the same size: it is killed again while it loads. Do not flush it.",
        detect=_oom_killed,
        explains=DEATHS,
    ),
    Cause(
        id="start_timeout",
        fault="F16",
        title="Loading takes longer than systemd waits",
        severity=WARNING,
        at_risk="Nothing on disk; the server never comes up, as systemd ends each attempt.",
        remedy=(
            "Raise redis_server_start_timeout to three times what loading takes (provision.yml), start the unit, "
            "replica first."
        ),
        avoid="Do not delete the append-only file or the snapshot to make it start faster: that is the data.",
        detect=_start_timeout,
        explains=("server_loading", *DEATHS),
        task="patient_start",
    ),
    Cause(
        id="start_limit",
        fault="F13",
        title="systemd has given up starting the server",
        severity=WARNING,
        at_risk="Writes since the last fsync or snapshot.",
        remedy=(
            "Find out why it ended (log and journal), repair that, then systemctl reset-failed and start the unit: "
            "without the reset the start is refused even after the cause is gone."
        ),
        avoid="Do not switch the limit off: it hides a crash loop.",
        detect=_start_limit,
        explains=("process_dead", *SYMPTOMS),
    ),
    Cause(
        id="process_dead",
        fault="F01",
        title="The server's process is dead",
        severity=WARNING,
        at_risk="Writes since the last fsync (append-only file) or the last snapshot.",
        remedy=(
            "Promote a replica where there is one, and start this server as its replica; else start it from its own "
            "disk."
        ),
        avoid=(
            "Do not start it as a primary beside a promoted one, nor when its disk holds less than a replica: its "
            "replicas would then erase their own data."
        ),
        detect=_process_dead,
        explains=SYMPTOMS,
        task="follow",
    ),
    Cause(
        id="process_restarted",
        fault="F01",
        title="The server died and systemd started it again",
        severity=INFO,
        at_risk="Writes since the last fsync or snapshot.",
        remedy=(
            "Compare the number of keys with what is expected and with the replicas. Then systemctl reset-failed UNIT "
            "takes note of it."
        ),
        avoid=(
            "Do not close the case because it is up: with snapshots only, every write since the last snapshot is lost."
        ),
        detect=_restarted,
    ),
    Cause(
        id="server_loading",
        fault="",
        title="The server is loading its data",
        severity=WARNING,
        at_risk="Nothing; it answers when it has loaded.",
        remedy="Wait.",
        avoid="Do not restart it: loading would start from the beginning.",
        detect=_loading,
        explains=SYMPTOMS,
    ),
    Cause(
        id="stopped_by_hand",
        fault="F40",
        title="The server was stopped or masked by a person",
        severity=WARNING,
        at_risk="Nothing by itself; somebody may be working on it.",
        remedy="Ask who stopped it. When the work is done, unmask it and run recover.yml.",
        avoid="Do not start it while somebody works on it.",
        detect=_stopped_by_hand,
        explains=SYMPTOMS,
    ),
    Cause(
        id="process_frozen",
        fault="F41",
        title="The server's process is stopped (SIGSTOP or a debugger)",
        severity=CRITICAL,
        at_risk="Writes that clients send to it after it wakes and before it is demoted.",
        remedy=(
            "Let Sentinel fail over, then end the process before it wakes (systemctl kill --signal=KILL), and start it "
            "as a replica. A replica may simply be continued with SIGCONT."
        ),
        avoid=(
            "Do not resume a primary that was replaced in the meantime: it accepts writes for about 10 s, and "
            "they are lost."
        ),
        detect=_frozen,
        explains=SYMPTOMS,
        task="replace_frozen",
    ),
    Cause(
        id="process_stuck",
        fault="F41",
        title="The server hangs in the kernel, waiting for its disk",
        severity=CRITICAL,
        at_risk="What it accepted and had not yet written or replicated.",
        remedy=(
            "Let Sentinel fail over. Repair the storage (multipath, NFS, a full thin pool, dying disk); then end the "
            "process and let it rejoin."
        ),
        avoid="Do not restart the unit: a process in this state cannot be killed, and systemd waits for it.",
        detect=_stuck_on_disk,
        explains=("disk_slow", *SYMPTOMS),
    ),
)
