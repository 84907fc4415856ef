# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real RQ, of any version, for tests."""

from __future__ import annotations

import json
import pickle
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Optional

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from lifeline.errors import LifelineError
from lifeline.rq import hold, info, options, requeue
from modules import ROOT, environment
from modules import RQ as VERSIONS
from servers import Server

DRIVER = ROOT / "tests" / "tools" / "rq_driver.py"


@cache
def interpreter(version: str) -> Path:
    """The Python of an environment that has this RQ; made when it is missing, fails when that fails."""
    found: Path = environment((f"rq=={version}", f"redis=={VERSIONS[version]}"))
    return found


def prepare(versions: tuple[str, ...]) -> None:
    """Make environments side by side."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(interpreter, versions))


class Rq:
    """One RQ version: ``rq.use(port).enqueue(count=3)``; see rq_driver.py for the steps."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.major = int(version.split(".", maxsplit=1)[0])
        self.port = 0
        self._process: Optional[subprocess.Popen[str]] = None

    def use(self, port: int) -> Rq:
        """Talk to the server at that port from now on."""
        self.port = port
        return self

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
            self._process = subprocess.Popen([interpreter(self.version), DRIVER], text=True, **pipes)  # type: ignore
        return self._process

    def __getattr__(self, name: str) -> Any:
        def step(**options: Any) -> Any:
            process = self._started()
            assert process.stdin and process.stdout and process.stderr
            process.stdin.write(json.dumps([self.port, name, options]) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                self.close()
                raise DiedError(f"RQ {self.version}, {name}: {process.stderr.read()[-2000:]}")
            return json.loads(line)

        return step

    def close(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            self._process.wait()


class Module:
    """What rq_requeue, rq_info and rq_hold do, in this process; test_ansible.py runs them as modules."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def requeue(self, *, check: bool = False, fails: bool = False, **given: Any) -> dict[str, Any]:
        """rq_requeue; everything of the queue default unless the options say otherwise."""
        return self._run(options.requeue(), requeue.work, check, fails, {"queues": ["default"], **given})

    def info(self, fails: bool = False, **given: Any) -> dict[str, Any]:
        """rq_info."""
        return self._run(options.info(), info.work, False, fails, given)

    def hold(self, *, check: bool = False, fails: bool = False, **given: Any) -> dict[str, Any]:
        """rq_hold; everything of the queue default unless the options say otherwise."""
        return self._run(options.hold(), hold.work, check, fails, {"queues": ["default"], **given})

    def _run(self, spec: Any, work: Any, check: bool, fails: bool, given: dict[str, Any]) -> dict[str, Any]:
        if "all_jobs" in spec:
            given.setdefault("all_jobs", True)
        checked = ArgumentSpecValidator(spec).validate({**self.server.login(), **given})
        assert not checked.error_messages, checked.error_messages
        try:
            result: dict[str, Any] = work(checked.validated_parameters, check)
        except LifelineError as error:
            assert fails, str(error)
            return {"msg": str(error), **error.partial}
        assert not fails, result
        return result


class DiedError(AssertionError):
    """The process that ran RQ ended in the middle of a step."""


def fail(rq: Any, client: Any, count: int = 5, **options: Any) -> list[str]:
    """Jobs that ran and failed; they succeed from now on."""
    ids: list[str] = rq.enqueue(count=count, **options)
    client.set("test:fail", 1)
    rq.work(queues=[options.get("queue", "default")], serializer=options.get("serializer"))
    client.delete("test:fail")
    assert client.zcard("rq:failed:" + options.get("queue", "default")) >= count
    return ids


def ran(client: Any) -> dict[str, int]:
    """How often each job did its work."""
    return {name.decode(): int(count) for name, count in client.hgetall("test:ran").items()}


def everything(client: Any) -> dict[bytes, Any]:
    """All keys with their values and whether they expire, for telling whether anything was written."""
    return {key: (client.dump(key), client.ttl(key) >= 0) for key in client.scan_iter()}


def put(client: Any, job_id: str, status: str, **fields: Any) -> None:
    """A job's hash, as little as RQ needs to run it."""
    data = zlib.compress(pickle.dumps(("rq_app.work", None, (), {})))
    values = {"status": status, "origin": "default", "created_at": "2026-01-01T00:00:00.000000Z", "data": data}
    client.hset("rq:job:" + job_id, mapping={**values, "timeout": 180, **fields})
    client.sadd("rq:queues", "rq:queue:default")
