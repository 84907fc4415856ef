#!/usr/bin/python3
# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask the lab's application for jobs at a steady rate, bounded in number and time.

Writes one line of JSON for each request as it ends: {at, id, error, ms}, with an id if it was acknowledged. Ends with a
summary: {sent, acknowledged, failed, first_failure, last_failure, first_success_after}, times in seconds since 1970.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TextIO

IN_FLIGHT = 16


def ask(url: str, seconds: float) -> dict[str, Any]:
    """One request for a job: {at, id, error, ms}."""
    at = time.time()
    body = json.dumps({"seconds": seconds}).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    answer: dict[str, Any] = {"at": at, "id": None, "error": None}
    try:
        with urllib.request.urlopen(request, timeout=15) as reply:
            answer["id"] = json.load(reply)["id"]
    except urllib.error.HTTPError as error:
        answer["error"] = f"status {error.code}"
    except (OSError, ValueError, KeyError) as error:
        answer["error"] = str(error)
    answer["ms"] = round((time.time() - at) * 1000, 1)
    return answer


def summary(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """What all requests came to."""
    failures = [answer["at"] for answer in answers if not answer["id"]]
    successes = [answer["at"] for answer in answers if answer["id"]]
    last = max(failures, default=None)
    return {
        "sent": len(answers),
        "acknowledged": len(successes),
        "failed": len(failures),
        "first_failure": min(failures, default=None),
        "last_failure": last,
        "first_success_after": min((at for at in successes if last and at > last), default=None),
    }


def produce(arguments: argparse.Namespace, output: TextIO) -> dict[str, Any]:
    """Send what the arguments say; a request that would be too many at once waits for its turn."""
    answers: list[dict[str, Any]] = []
    writing = threading.Lock()

    def one() -> None:
        answer = ask(arguments.url, arguments.job_seconds)
        with writing:
            answers.append(answer)
            output.write(json.dumps(answer) + "\n")
            output.flush()

    start = time.monotonic()
    with ThreadPoolExecutor(max_workers=IN_FLIGHT) as pool:
        for number in range(arguments.count):
            due = start + number / arguments.rate
            if due > start + arguments.seconds:
                break
            time.sleep(max(0.0, due - time.monotonic()))
            pool.submit(one)
    return summary(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask the lab's application for jobs at a steady rate.")
    parser.add_argument("--url", default="http://127.0.0.1:8000/jobs")
    parser.add_argument("--rate", type=float, default=10, help="requests a second")
    parser.add_argument("--count", type=int, default=600, help="requests at most")
    parser.add_argument("--seconds", type=float, default=60, help="seconds at most")
    parser.add_argument("--job-seconds", type=float, default=0.0, help="seconds that each job takes")
    parser.add_argument("--output", help="file for the lines; standard output without it")
    arguments = parser.parse_args()
    if arguments.output:
        with open(arguments.output, "a", encoding="utf-8") as output:
            result = produce(arguments, output)
    else:
        result = produce(arguments, sys.stdout)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
