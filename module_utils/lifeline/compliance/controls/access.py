# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may log in, with which password, and what they may do then."""

from __future__ import annotations

from ...common.facts import Facts
from ...observe.sentinel_rights import NEEDED, tolerated
from .base import (  # fmt: skip
    ESTATE,
    HIGH,
    LOW,
    MEDIUM,
    SERVER,
    Control,
    NotSeenError,
    Outcome,
    Subject,
    failed,
    judged,
    manual,
    not_applicable,
    passed,
    posture,
    redis_of,
)
from .rights import (
    ADMIN,
    DESTRUCTIVE,
    REPLICA,
    allowed,
    channels,
    keys,
    listed,
    live,
    publishes_hello,
    shared_passwords,
)

PASSWORD_LENGTH = 32
_ACL = "roles redis_server and redis_sentinel write the ACL files; run provision.yml"


def default_user(subject: Subject) -> Outcome:
    user = Facts(subject.redis.sub("users").sub("default").facts.plain)
    if not user.flag("enabled"):
        return passed("user default is off")
    if user.flag("nopass") or not user.texts("digests"):
        return failed("user default is on and needs no password")
    return passed("user default is on and has a password")


def named_users(subject: Subject) -> Outcome:
    users = live(subject.redis.sub("users").facts)
    wanted = subject.policy.texts("users")
    problems = [f"user {name} is missing or off" for name in wanted if name not in users]
    problems += [f"users {one} and {two} have the same password" for one, two in shared_passwords(users)]
    return judged(problems, f"users that can log in: {listed(users)}")


def application_rights(subject: Subject) -> Outcome:
    users = live(subject.redis.sub("users").facts)
    apart = {*subject.policy.texts("admin_users"), *_system_users(subject)}
    problems = []
    for name, user in users.items():
        if name in apart:
            continue
        excess = allowed(user) & (ADMIN - subject_exempt(subject, name))
        if excess:
            problems.append(f"user {name} may run {listed(excess)}")
        if keys(user) & {"~*"}:
            problems.append(f"user {name} reaches every key")
    return judged(problems, f"looked at {listed(set(users) - apart)}: no administration, no pattern for every key")


def subject_exempt(subject: Subject, name: str) -> frozenset[str]:
    """What a user that only looks may ask, beside what applications may."""
    watching = ("acl|list", "client|list", "role")  # CONFIG GET tells the replicas' password, and so all data
    return frozenset(watching) if name in subject.policy.texts("watching_users") else frozenset()


def _system_users(subject: Subject) -> set[str]:
    """Users of the replication and of Sentinel, as the servers and sentinels themselves name them."""
    found = {subject.redis.maybe("config").text("masteruser")}
    for host in subject.case.hosts.values():
        monitors = host.facts.sub("posture", "sentinel", "monitors")
        found |= {monitor.text("auth_user") for _name, monitor in monitors.named()}
    return found - {""}


def sentinel_rights(subject: Subject) -> Outcome:
    if not subject.case.watchers:
        return not_applicable("the estate has no sentinel")
    names = _auth_users(subject)
    problems = []
    for name in sorted(names):
        if name in ("", "default"):
            problems.append("sentinels log in as default")
            continue
        user = subject.redis.sub("users").maybe(name)
        if not user:
            problems.append(f"user {name}, which sentinels log in as, does not exist")
            continue
        needed, more = frozenset(NEEDED), tolerated(subject.redis.maybe("info").text("valkey_version"))
        missing, excess = needed - allowed(user), allowed(user) - needed - more
        problems += [f"user {name} may not run {listed(missing)}, which Sentinel needs"] if missing else []
        problems += [f"user {name} may run {listed(excess)}, which Sentinel does not need"] if excess else []
        problems += (
            [f"user {name} reaches channels {listed(channels(user))}"]
            if channels(user) - {"__sentinel__:hello"}
            else []
        )
        problems += [f"user {name} reaches keys {listed(keys(user))}"] if keys(user) else []
    return judged(problems, f"user {listed(names)} has what Sentinel needs and no more")


def _auth_users(subject: Subject) -> set[str]:
    found = set()
    for watcher in subject.case.watchers:
        monitors = posture(watcher.host, watcher.name).sub("sentinel").sub("monitors")
        found |= {monitor.text("auth_user") for _name, monitor in monitors.facts.named()}
    if not found:
        raise NotSeenError("no sentinel's file names the estate")
    return found


def hello_channel(subject: Subject) -> Outcome:
    if not subject.case.watchers:
        return not_applicable("the estate has no sentinel")
    users = live(subject.redis.sub("users").facts)
    may = {name for name, user in users.items() if publishes_hello(user)}
    wrong = may - _auth_users(subject) - set(subject.policy.texts("admin_users"))
    return judged([f"user {name} may publish to __sentinel__:hello" for name in sorted(wrong)],
                  f"only {listed(may)} may publish there")  # fmt: skip


def replica_rights(subject: Subject) -> Outcome:
    if len(subject.case.servers) < 2:
        return not_applicable("the estate has no replica")
    name = subject.config.text("masteruser") or "default"
    user = subject.redis.sub("users").maybe(name)
    if name == "default" or not user:
        return failed(f"replicas log in as {name}" + ("" if user else ", which does not exist"))
    missing, excess = REPLICA - allowed(user), allowed(user) - REPLICA
    problems = [f"user {name} may not run {listed(missing)}"] if missing else []
    problems += [f"user {name} may run {listed(excess)}"] if excess else []
    problems += [f"user {name} reaches keys {listed(keys(user))}"] if keys(user) else []
    return judged(problems, f"user {name} may run {listed(REPLICA)} and no more")


def hashed_secrets(subject: Subject) -> Outcome:
    look = subject.look
    plain = [*look.sub("config_file").texts("plain_users")]
    if subject.config.text("aclfile"):
        plain += look.sub("acl_file").texts("plain_users")
    if subject.watcher is not None:
        plain += subject.sentinel.texts("plain_users")
    return judged([f"the password of user {name} stands in a file as it is" for name in sorted(set(plain))],
                  "files of ACL users hold digests only")  # fmt: skip


def password_strength(subject: Subject) -> Outcome:
    redis = subject.redis
    problems = [f"the password of user {name} is one of the best known ones"
                for name, user in redis.sub("users").facts.named() if user.flag("weak")]  # fmt: skip
    settings = {*redis.texts("weak"), *subject.look.sub("config_file").texts("weak")}
    if subject.watcher is not None:
        settings |= set(subject.sentinel.texts("weak"))
    problems += [f"{name} is one of the best known passwords" for name in sorted(settings)]
    lengths = dict(subject.policy.numbers("password_lengths"))
    problems += [f"redis_password_{name} has {int(length)} characters" for name, length in sorted(lengths.items())
                 if 0 < length < PASSWORD_LENGTH]  # fmt: skip
    if problems or any(length > 0 for length in lengths.values()):
        return judged(problems, f"the inventory's passwords have {PASSWORD_LENGTH} characters or more, none well known")
    return manual("no password is a well-known one; how long they are cannot be seen on the host")


def secrets_agree(subject: Subject) -> Outcome:
    problems: list[str] = []
    servers = {server.name: redis_of(server.host, server.name) for server in subject.case.servers}
    members = {member.name: member.host for member in subject.case.watchers}
    members.update((server.name, server.host) for server in subject.case.servers)
    for name, host in members.items():
        if not posture(host, name).flag("keyed"):
            raise NotSeenError(f"{name}: passwords were digested without the run's key and cannot be compared")
    replicated = {name: redis.sub("secrets").text("masterauth") for name, redis in servers.items()}
    if len(servers) > 1:
        problems += _differing("masterauth", replicated)
        for name, redis in servers.items():
            user = redis.sub("config").text("masteruser") or "default"
            known = redis.sub("users").maybe(user).texts("digests")
            open_ = redis.sub("users").maybe(user).flag("nopass")
            problems += [f"{name}: user {user} does not have the password that {other} follows with"
                         for other, digest in replicated.items() if not open_ and digest not in known]  # fmt: skip
    problems += _sentinel_secrets(subject, {name: redis.sub("users").facts for name, redis in servers.items()})
    return judged(problems, f"{listed(servers)} and {len(subject.case.watchers)} sentinels agree on their passwords")


def _sentinel_secrets(subject: Subject, users: dict[str, Facts]) -> list[str]:
    problems: list[str] = []
    own: dict[str, str] = {}
    for watcher in subject.case.watchers:
        look = posture(watcher.host, watcher.name).sub("sentinel")
        own[watcher.name] = look.text("sentinel_pass")
        monitor = look.sub("monitors").sub(subject.case.service)
        user = monitor.text("auth_user") or "default"
        for server, known in users.items():
            entry = known.sub(user)
            if not entry.flag("nopass") and monitor.text("auth_pass") not in entry.texts("digests"):
                problems.append(f"{server}: user {user} does not have the password of the sentinel on {watcher.name}")
    return problems + _differing("sentinel-pass", own)


def _differing(what: str, digests: dict[str, str]) -> list[str]:
    return [f"{what} differs between {listed(digests)}"] if len(set(digests.values())) > 1 else []


def refusals(subject: Subject) -> Outcome:
    hours = subject.policy.number("acl_log_hours", 24)
    recent = [row for row in subject.redis.rows("acl_log") if row.number("age_s") <= hours * 3600]
    return judged([f"user {row.text('user')} was refused {row.text('object')} ({row.text('reason')}), "
                   f"{row.count('count')} times, last {int(row.number('age_s'))} s ago" for row in recent],
                  f"no refusal in the last {hours:g} h")  # fmt: skip


def few_administrators(subject: Subject) -> Outcome:
    users = live(subject.redis.sub("users").facts)
    admins = set(subject.policy.texts("admin_users"))
    scripts = admins | set(subject.policy.texts("script_users"))
    problems = [f"user {name} may run {listed(allowed(user) & DESTRUCTIVE)}"
                for name, user in users.items() if name not in admins and allowed(user) & DESTRUCTIVE]  # fmt: skip
    problems += [f"user {name} may run scripts" for name, user in users.items()
                 if name not in scripts and "eval" in allowed(user)]  # fmt: skip
    used = {name: int(count) for name, count in subject.redis.maybe("calls").numbers("")}
    return judged(problems, f"only {listed(admins & set(users))} may; used since the start: "
                  f"{', '.join(f'{name} {count}' for name, count in sorted(used.items())) or 'none'}")  # fmt: skip


CONTROLS = (
    Control(
        id="RDS-001",
        title="Nobody gets in as user default without a password",
        severity=HIGH,
        scope=SERVER,
        why="Whoever reaches the port owns the data, and with CONFIG SET often the host.",
        fix=(
            f"{_ACL}."
        ),
        reference="redis.io security; DISA V-251185, V-251187; Lynis DBS-1884",
        check=default_user,
        repairs=True,
    ),
    Control(
        id="RDS-005",
        title="Each job has an ACL user of its own",
        severity=MEDIUM,
        scope=SERVER,
        why="A shared login can be neither limited nor withdrawn without hurting somebody else.",
        fix=(
            f"{_ACL}. Other names: redis_compliance_users."
        ),
        reference="DISA V-251222, V-251230",
        check=named_users,
        repairs=True,
    ),
    Control(
        id="RDS-006",
        title="Applications cannot administer the server",
        severity=HIGH,
        scope=SERVER,
        why="An injected command must not be able to empty, stop or reconfigure Redis.",
        fix="redis_server_application_keys, redis_server_users; administrators: redis_compliance_admin_users.",
        reference="redis.io ACL; DISA V-251188, V-251209",
        check=application_rights,
        repairs=True,
    ),
    Control(
        id="RDS-007",
        title="Sentinel's user has what Sentinel needs and no more",
        severity=MEDIUM,
        scope=SERVER,
        why="With less, a failover gets stuck half way; with more, a stolen sentinel.conf is worth a server.",
        fix=(
            f"{_ACL}."
        ),
        reference="redis.io Sentinel, ACL",
        check=sentinel_rights,
        repairs=True,
    ),
    Control(
        id="RDS-008",
        title="Only Sentinel may publish to its hello channel",
        severity=HIGH,
        scope=SERVER,
        why="Forged hello messages make sentinels and applications follow another server.",
        fix=(
            f"{_ACL}."
        ),
        reference="redis.io Sentinel",
        check=hello_channel,
        repairs=True,
    ),
    Control(
        id="RDS-009",
        title="The replicas' user can replicate and nothing else",
        severity=MEDIUM,
        scope=SERVER,
        why="Its password stands in every redis.conf as it is.",
        fix=(
            f"{_ACL}."
        ),
        reference="redis.io ACL",
        check=replica_rights,
        repairs=True,
    ),
    Control(
        id="RDS-010",
        title="ACL files hold digests, not passwords",
        severity=HIGH,
        scope=SERVER,
        why="Whoever reads a backup of the file must not be able to log in.",
        fix=(
            f"{_ACL}."
        ),
        reference="DISA V-251223",
        check=hashed_secrets,
        repairs=True,
    ),
    Control(
        id="RDS-011",
        title="Passwords are long and nobody's default",
        severity=MEDIUM,
        scope=SERVER,
        why="Redis answers a million attempts a minute: only length stops guessing.",
        fix="redis_password_*: ansible.builtin.password lookup or ACL GENPASS, 32 characters or more.",
        reference="redis.io security; DISA V-251428",
        check=password_strength,
    ),
    Control(
        id="RDS-012",
        title="All members of the estate know each other's passwords",
        severity=HIGH,
        scope=ESTATE,
        why="A replica or sentinel with an old password works until the next failover, and fails then.",
        fix="redis_password_replica and redis_password_sentinel in group_vars of the estate; run provision.yml.",
        reference="redis.io replication, Sentinel; measured: faults F29, F30",
        check=secrets_agree,
        repairs=True,
    ),
    Control(
        id="RDS-046",
        title="No login and no command was refused lately",
        severity=MEDIUM,
        scope=SERVER,
        why="A refusal is a misconfigured client or somebody trying doors.",
        fix="Find the client in ACL LOG, correct it, then ACL LOG RESET; window: redis_compliance_acl_log_hours.",
        reference="DISA V-251192",
        check=refusals,
    ),
    Control(
        id="RDS-050",
        title="Only administrators may empty, stop or reconfigure the server",
        severity=LOW,
        scope=SERVER,
        why="FLUSHALL by mistake is the fastest way to lose every job.",
        fix="redis_server_users; administrators: redis_compliance_admin_users; scripts: redis_compliance_script_users.",
        reference="DISA V-251250",
        check=few_administrators,
        repairs=True,
    ),
)  # fmt: skip
