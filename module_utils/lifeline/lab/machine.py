# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The machine that a lab runs on: its tools, limits, networks, runtime and kernel settings."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

from ..common import atomic
from ..common.commands import bounded
from ..errors import LifelineError
from . import plan

RUN_DIR = Path("/run/lifeline-lab")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# A tool, where else than in PATH it may be, and Debian's package for it.
TOOLS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("podman", (), "podman"),
    ("netavark", ("/usr/lib/podman/netavark", "/usr/libexec/podman/netavark"), "netavark"),
    ("aardvark-dns", ("/usr/lib/podman/aardvark-dns", "/usr/libexec/podman/aardvark-dns"), "aardvark-dns"),
    ("iptables", (), "iptables"),
    ("ip", (), "iproute2"),
    ("ssh", (), "openssh-client"),
    ("ssh-keygen", (), "openssh-client"),
    ("openssl", (), "openssl"),
)
BUILD_TOOLS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("debootstrap", (), "debootstrap"),
    ("unshare", (), "util-linux"),
    ("Debian's archive keys", (str(KEYRING),), "debian-archive-keyring"),
)

_PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def run(
    argv: Sequence[str],
    what: str,
    timeout: float = 120,
    env: Optional[Mapping[str, str]] = None,
    stdin: Optional[bytes] = None,
) -> str:
    """Standard output of a command. ``what`` completes "Cannot ...:" in the LifelineError that a failure raises."""
    try:
        done = bounded(argv, timeout, stdin or b"", {"PATH": _PATH, "LC_ALL": "C", **(env or {})})
    except FileNotFoundError:
        raise LifelineError(f"Cannot {what}: the command {argv[0]} is missing on this machine.") from None
    except subprocess.TimeoutExpired:
        raise LifelineError(f"Cannot {what}: {argv[0]} did not finish within {timeout:.0f} s.") from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise LifelineError(f"Cannot {what}: {lines[-1].strip() if lines else f'{argv[0]} exits {done.returncode}'}")
    return done.stdout


def look(argv: Callable[[], Sequence[str]], what: str) -> str:
    """``run`` for commands that only read. ``argv`` is asked for anew each time.

    podman fails when what it lists is removed meanwhile, as another lab may do; then it is asked again.
    """
    for _attempt in range(4):
        with contextlib.suppress(LifelineError):
            return run(argv(), what)
        time.sleep(0.5)
    return run(argv(), what)


def require_root() -> None:
    """Raise LifelineError unless we are root."""
    if os.geteuid() != 0:
        raise LifelineError(
            "The lab needs root on this machine, since its hosts boot systemd and have their own network: "
            "run the playbook as root, or as somebody who may use sudo."
        )


def missing_packages(tools: Sequence[tuple[str, tuple[str, ...], str]]) -> list[str]:
    """Debian's packages for those tools that this machine lacks."""
    packages = []
    for name, places, package in tools:
        found = shutil.which(name, path=_PATH) or any(Path(place).exists() for place in places)
        if not found and package not in packages:
            packages.append(package)
    return packages


def install(packages: Sequence[str]) -> None:
    """Install packages with APT. Raises LifelineError where that cannot work."""
    names = " ".join(packages)
    if not shutil.which("apt-get", path=_PATH):
        raise LifelineError(
            f"The lab needs {names}, and this machine has no APT to install them with: "
            "install them by hand, then run this again."
        )
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(["apt-get", "--quiet", "update"], "refresh APT's lists", 300, env)
        run(
            [
                "apt-get",
                "--quiet",
                "--yes",
                "-o",
                "DPkg::Lock::Timeout=120",
                "install",
                "--no-install-recommends",
                *packages,
            ],
            "install packages",
            900,
            env,
        )
    except LifelineError as error:
        raise LifelineError(
            f"The lab needs {names}, which APT does not install here. {error} Install them by hand."
        ) from None


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Keep others on this machine out while one lab makes a decision that must be unique, or builds an image."""
    with atomic.locked(RUN_DIR / f"{name}.lock", 0o644, make=0o755):
        yield


def containers() -> list[plan.Container]:
    """Every container of every lab on this machine."""
    argv = ["podman", "ps", "--all", "--filter", f"label={plan.LABEL}", "--format", "json"]
    listing = look(lambda: argv, "list the lab's hosts")
    return plan.containers_from(json.loads(listing or "[]") or [])


def network_subnet(lab: str) -> str:
    """The subnet of a lab's network, or an empty string when there is no such network."""
    for network in _networks():
        if network["name"] == plan.network_name(lab):
            return str(network["subnets"][0]["subnet"])
    return ""


def make_network(lab: str, subnet: str) -> str:
    """Make the lab's network on a subnet that nothing else uses (or on ``subnet``); returns the subnet."""
    with locked("network"):
        routes = json.loads(run(["ip", "-4", "-json", "route", "show", "table", "all"], "read the routes") or "[]")
        taken = [route["dst"] for route in routes if route.get("dst") not in (None, "default")]
        for network in _networks():
            taken += [entry["subnet"] for entry in network.get("subnets") or ()]
        chosen = plan.choose_subnet(taken, [subnet] if subnet else plan.POOL)
        run(
            [
                "podman",
                "network",
                "create",
                "--label",
                f"{plan.LABEL}={lab}",
                "--subnet",
                chosen,
                plan.network_name(lab),
            ],
            f"create a network on {chosen}",
        )
    return chosen


def _networks() -> list[dict[str, Any]]:
    def inspect() -> list[str]:
        names = run(["podman", "network", "ls", "--quiet"], "list the networks").split()
        return ["podman", "network", "inspect", *names]

    result: list[dict[str, Any]] = json.loads(look(inspect, "read the networks"))
    return result


def image_exists(tag: str) -> bool:
    """Whether podman has the image."""
    return bool(run(["podman", "images", "--quiet", "--filter", f"reference={tag}"], "list images").strip())


def build_image(tag: str, recipe: str, settings: Mapping[str, str], cache: str) -> None:
    """Build an image with the recipe, in a mount namespace of its own. Takes a minute or two."""
    with locked(f"image-{tag.rsplit(':', 1)[-1]}"):
        if image_exists(tag):
            return
        lacking = missing_packages(BUILD_TOOLS)
        if lacking:
            install(lacking)
        root = tempfile.mkdtemp(prefix="lifeline-lab-", dir="/var/tmp")
        try:
            os.chmod(root, 0o755)  # noqa: S103 - the root directory of a host
            run(
                ["unshare", "--mount", "sh", "-c", recipe],
                f"build the image {tag}",
                1500,
                {**settings, "ROOT": root, "CACHE": cache, "IMAGE": tag, "KEYRING": str(KEYRING)},
            )
        finally:
            shutil.rmtree(root, ignore_errors=True)


def apt_sources() -> list[str]:
    """The texts of this machine's APT source files."""
    paths = ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*.list"))]
    paths += sorted(glob.glob("/etc/apt/sources.list.d/*.sources"))
    return [Path(path).read_text(encoding="utf-8", errors="replace") for path in paths if os.path.isfile(path)]


def apt_settings() -> str:
    """APT settings of this machine that reaching the mirror depends on."""
    return plan.apt_lines(run(["apt-config", "dump"], "read APT's settings")) if shutil.which("apt-config") else ""


def limits() -> list[str]:
    """podman's arguments for limits that this machine allows."""
    return plan.ulimits(resource.getrlimit(resource.RLIMIT_NOFILE)[1], resource.getrlimit(resource.RLIMIT_NPROC)[1])


def choose_runtime(image: str) -> str:
    """The first OCI runtime that starts a systemd container here: podman's own choice, then the others.

    (crun refuses on kernels with hybrid cgroups; runc does not.) Installs runc when nothing that is there works.
    """
    default = run(["podman", "info", "--format", "{{.Host.OCIRuntime.Name}}"], "ask podman for its runtime").strip()
    last = ""
    for name in dict.fromkeys((default, "crun", "runc")):
        if not shutil.which(name, path=_PATH):
            if name != "runc":
                continue
            install(["runc"])
        argv = ["podman", "--runtime", name, "run", "--rm", "--pull=never", "--network=none", "--systemd=always"]
        try:
            run([*argv, "--privileged", *limits(), image, "/bin/true"], f"start a host with {name}")
        except LifelineError as error:
            last = str(error)
        else:
            return name
    raise LifelineError(f"No container runtime on this machine starts a host that boots systemd. {last}")


def record_kernel() -> None:
    """Remember the kernel settings that labs may change, once, before the first host of the first lab.

    Then raises the one that would keep hosts from booting.
    """
    path = RUN_DIR / "kernel.json"
    with locked("kernel"):
        if not path.exists():
            values = {}
            for setting in plan.KERNEL_SETTINGS:
                with contextlib.suppress(OSError):
                    values[setting] = plan.setting_value(Path(setting).read_text(encoding="ascii"))
            atomic.write(path, json.dumps(values, indent=2) + "\n", 0o644, (0, 0))
        setting, least = plan.INOTIFY_INSTANCES
        with contextlib.suppress(OSError):
            if int(Path(setting).read_text(encoding="ascii")) < least:
                Path(setting).write_text(str(least), encoding="ascii")


def restore_kernel() -> list[str]:
    """Give back what ``record_kernel`` remembered, unless another lab is still there; returns what differed."""
    path = RUN_DIR / "kernel.json"
    restored = []
    with locked("kernel"):
        if containers() or not path.exists():
            return []
        for setting, value in json.loads(path.read_text(encoding="ascii")).items():
            with contextlib.suppress(OSError):
                if plan.setting_value(Path(setting).read_text(encoding="ascii")) != value:
                    Path(setting).write_text(value, encoding="ascii")
                    restored.append(setting)
        path.unlink()
    return restored


def images() -> list[str]:
    """Every image that a lab built."""
    return run(["podman", "images", "--quiet", "--filter", f"reference={plan.IMAGE}"], "list images").split()
