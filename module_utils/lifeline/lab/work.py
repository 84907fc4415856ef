# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make a lab what its description says, or take it away."""

from __future__ import annotations

import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path
from typing import Any, Callable, Iterable, Sequence

from ..common.commands import bounded
from ..errors import LifelineError
from . import files, machine, plan
from .files import Directory

BOOT_SECONDS = 60


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """The module's work; ``params`` are the options of ``library/lab_hosts.py``. Returns its result."""
    plan.check_lab_name(params["name"])
    machine.require_root()
    directory = Directory(params["directory"])
    if params["state"] == "absent":
        return _absent(params, directory, check)
    return _present(params, directory, check)


def _present(params: dict[str, Any], directory: Directory, check: bool) -> dict[str, Any]:
    lab = params["name"]
    hosts = plan.hosts_from(params["hosts"])
    lacking = machine.missing_packages(machine.TOOLS)
    if lacking and not check:
        machine.install(lacking)
    current = [] if lacking and check else _own_containers(lab, directory)
    state = directory.state()
    todo = plan.plan(current, hosts, state.get("run", ""))
    result = {
        "installed": lacking,
        "removed": todo.remove,
        "created": todo.create,
        "connected": todo.connect,
        "started": todo.start,
        "built": [],
    }
    changed = bool(lacking) or not todo.empty
    if check:
        return {**result, "changed": changed, "diff": _diff(current, hosts)}

    if not state:
        state = files.new_state()
        files.make_lab_keys(directory, lab)
        directory.save_state(state)
    # Connections that were kept open to hosts that are gone, or were, would hang.
    gone = [
        at
        for name, at in state["addresses"].items()
        if name in {*todo.remove, *todo.create, *todo.connect, *todo.start}
    ]
    _close_connections(params["control_path_dir"], state["run"], gone)
    if todo.create:
        # Removing first frees the addresses.
        _remove(todo.remove, lab)
        result["built"] = _create(params, directory, state, [host for host in hosts if host.name in todo.create])
    elif todo.remove:
        _remove(todo.remove, lab)
    for name in todo.connect:
        machine.run(plan.connect_argv(lab, name, state["addresses"][name]), f"connect the host {name}")
    if todo.start:
        machine.run(["podman", "start", *(plan.container_name(lab, name) for name in todo.start)], "start the hosts")
    state["addresses"] = {host.name: state["addresses"][host.name] for host in hosts}
    directory.save_state(state)
    changed = _write_inventory(directory, state, hosts) or changed
    paused = {container.host for container in current if container.state == "paused"}
    _wait(lab, directory, {name: at for name, at in state["addresses"].items() if name not in paused})
    return {**result, "changed": changed, "diff": _diff(current, hosts), "addresses": state["addresses"]}


def _absent(params: dict[str, Any], directory: Directory, check: bool) -> dict[str, Any]:
    lab = params["name"]
    has_podman = "podman" not in machine.missing_packages(machine.TOOLS)
    current = _own_containers(lab, directory) if has_podman else []
    subnet = machine.network_subnet(lab) if has_podman else ""
    run = directory.state().get("run", "")
    found = bool(current or subnet or directory.private.exists() or directory.inventory.exists())
    images = machine.images() if has_podman and params["purge"] else []
    result = {"changed": found or bool(images), "removed": [container.host for container in current]}
    result["diff"] = _diff(current, [])
    if check:
        return result
    if run:
        _close_connections(params["control_path_dir"], run, ["*"])
    _remove([container.host for container in current], lab)
    if subnet:
        machine.run(["podman", "network", "rm", "--force", plan.network_name(lab)], "remove the lab's network")
    directory.remove()
    if has_podman:
        result["restored"] = machine.restore_kernel()
    if images:
        machine.run(["podman", "rmi", "--force", *images], "remove the lab's images")
    return result


def _own_containers(lab: str, directory: Directory) -> list[plan.Container]:
    """The lab's containers. Raises LifelineError when a lab of this name belongs to another directory in use."""
    current = [container for container in machine.containers() if container.lab == lab]
    for container in current:
        if container.directory != str(directory.path) and Directory(container.directory).state():
            raise LifelineError(
                f"A lab called {lab} exists already and its inventory is in {container.directory}: "
                "remove that one first, or choose another lab_hosts_name."
            )
    return current


def _create(
    params: dict[str, Any], directory: Directory, state: dict[str, Any], hosts: Sequence[plan.Host]
) -> list[str]:
    """Create and start hosts: images, network, addresses, keys. Returns the images that had to be built."""
    lab = params["name"]
    images, built = _images(params, sorted({host.release for host in hosts}))
    subnet = machine.network_subnet(lab) or machine.make_network(lab, params["subnet"])
    wanted = [item["name"] for item in params["hosts"]]
    state["addresses"] = plan.allocate(subnet, wanted, state["addresses"])
    # Saved before the first container: whatever happens, the next run knows whose keys the hosts have.
    directory.save_state(state)
    machine.record_kernel()
    runtime = machine.choose_runtime(next(iter(images.values())))
    limits = machine.limits()

    def create(host: plan.Host) -> None:
        address = state["addresses"][host.name]
        argv = plan.create_argv(
            lab, host, address, images[host.release], runtime, limits, str(directory.path), state["run"]
        )
        machine.run(argv, f"create the host {host.name}")
        name = plan.container_name(lab, host.name)
        authorized = directory.key.with_suffix(".pub").read_text(encoding="ascii")
        with tempfile.TemporaryDirectory() as scratch:
            key, public = files.ssh_key(Path(scratch) / "key", host.name)
            # podman leaves what it reads from standard input in its directory for temporary files.
            machine.run(
                ["podman", "cp", "--archive=false", "-", f"{name}:/"],
                f"give the host {host.name} its keys",
                env={"TMPDIR": scratch},
                stdin=files.seed(authorized, key, public),
            )
        directory.write(directory.private / f"{host.name}.pub", public, 0o644)
        files.make_certificate(directory, host.name, address)
        machine.run(["podman", "--runtime", runtime, "start", name], f"start the host {host.name}")

    _parallel(create, hosts)
    return built


def _images(params: dict[str, Any], releases: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """({release: image}, images that had to be built)."""
    recipe = Path(params["recipe"]).read_text(encoding="utf-8")
    mirror = plan.Mirror(params["mirror"]) if params["mirror"] else plan.mirror_from(machine.apt_sources())
    images: dict[str, str] = {}
    built: list[str] = []
    cache = Path(params["cache"])

    def provide(release: str) -> None:
        settings = {
            "RELEASE": release,
            **plan.image_sources(release, mirror),
            "APT_CONF": machine.apt_settings(),
            "PACKAGES": " ".join(params["packages"]),
            "PREFETCH": " ".join(params["prefetch"]),
        }
        images[release] = plan.image_tag(release, recipe, settings)
        if not machine.image_exists(images[release]):
            files.make_directory(cache, files.owner(cache))
            machine.build_image(images[release], recipe, settings, str(cache / f"apt-{release}"))
            built.append(images[release])

    _parallel(provide, releases)
    return images, sorted(built)


def _remove(names: Iterable[str], lab: str) -> None:
    containers = [plan.container_name(lab, name) for name in names]
    if containers:
        machine.run(["podman", "rm", "--force", "--time", "0", *containers], "remove hosts", 120)


def _write_inventory(directory: Directory, state: dict[str, Any], hosts: Sequence[plan.Host]) -> bool:
    """The inventory and known_hosts; drops the files of hosts that are gone. Returns whether anything changed."""
    private = directory.private
    options = {
        "UserKnownHostsFile": directory.known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
    }
    variables = {
        "ansible_user": "ops",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": str(directory.key),
        "ansible_ssh_common_args": " ".join(f"-o {name}={value}" for name, value in options.items()),
        # Of this lab alone: a connection that was kept open to an earlier lab's host of the same address is not used.
        "ansible_control_path": f"%(directory)s/lab-{state['run']}-%%h",
        "redis_tls_ca_src": str(directory.ca),
        "redis_tls_cert_src": f"{private}/{{{{ inventory_hostname }}}}.crt",
        "redis_tls_key_src": f"{private}/{{{{ inventory_hostname }}}}.key",
        **{f"redis_password_{who}": password for who, password in state["passwords"].items()},
    }
    inventory = plan.inventory(hosts, state["addresses"], variables)
    changed = directory.write(directory.inventory, json.dumps(inventory, indent=2) + "\n", 0o600)
    lines = []
    for host in hosts:
        kind, key = (private / f"{host.name}.pub").read_text(encoding="ascii").split()[:2]
        lines.append(f"{state['addresses'][host.name]} {kind} {key}\n")
    changed = directory.write(directory.known_hosts, "".join(lines), 0o644) or changed
    keep = {host.name for host in hosts}
    for path in private.glob("*.pub"):
        if path.stem not in keep and path.stem != directory.key.stem:
            for stale in (path, directory.certificate(path.stem), directory.certificate_key(path.stem)):
                stale.unlink(missing_ok=True)
    return changed


def _wait(lab: str, directory: Directory, addresses: dict[str, str]) -> None:
    """Until each host lets the lab's user in: sshd answers with the key that we know, and boot is far enough."""
    deadline = time.monotonic() + BOOT_SECONDS
    options = (
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        "ConnectTimeout=2",
        "ControlPath=none",
    )
    base = ["ssh", "-F", "/dev/null", "-i", str(directory.key), "-o", f"UserKnownHostsFile={directory.known_hosts}"]
    base += ["-o", "GlobalKnownHostsFile=/dev/null"]
    for option in options:
        base += ["-o", option]

    def wait(item: tuple[str, str]) -> None:
        name, address = item
        while True:
            argv = [*base, f"ops@{address}", "true"]
            done = bounded(argv, 30)
            if done.returncode == 0:
                return
            if time.monotonic() > deadline:
                why = (done.stderr.strip().splitlines() or ["no answer"])[-1]
                raise LifelineError(
                    f"The lab host {name} at {address} lets nobody in over SSH within {BOOT_SECONDS} s ({why}): "
                    f"look at its journal with `podman exec {plan.container_name(lab, name)} journalctl`."
                )
            time.sleep(0.1)

    _parallel(wait, list(addresses.items()))


def _close_connections(directory: str, run: str, addresses: Sequence[str]) -> None:
    """End the SSH connections that Ansible keeps open to hosts of this lab."""
    for path in [path for address in addresses for path in glob(f"{directory}/lab-{run}-{address}")]:
        bounded(["ssh", "-F", "/dev/null", "-o", f"ControlPath={path}", "-O", "exit", "lab"], 10)
        Path(path).unlink(missing_ok=True)


def _parallel(function: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Call the function for each item, at once; the first error is raised when all are done."""
    if items:
        with ThreadPoolExecutor(max_workers=len(items)) as pool:
            for future in [pool.submit(function, item) for item in items]:
                future.result()


def _diff(current: Sequence[plan.Container], hosts: Sequence[plan.Host]) -> dict[str, Any]:
    before = {container.host: {"release": container.release, "state": container.state} for container in current}
    after = {host.name: {"release": host.release, "state": "running"} for host in hosts}
    return {"before": before, "after": after}
