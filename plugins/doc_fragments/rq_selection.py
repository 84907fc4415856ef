# Copyright: Lifeline contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which jobs the RQ modules take. A job must pass every filter that is given."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  queues:
    description: Names of the queues, or patterns with C(*), C(?) and C([]). All queues must be asked for with V(['*']).
    type: list
    elements: str
    required: true
  all_jobs:
    description: Must be true when no filter is given, so that everything is never taken by mistake.
    type: bool
    default: false
  job_ids:
    description: Only these jobs.
    type: list
    elements: str
    default: []
  functions:
    description: Only jobs that call one of these functions; names or patterns. Payloads are never unpickled.
    type: list
    elements: str
    default: []
  exclude_functions:
    description: No jobs that call one of these functions; names or patterns.
    type: list
    elements: str
    default: []
  exception:
    description: Only jobs whose traceback this regular expression is found in.
    type: str
  failed_after:
    description:
      - Only jobs that failed (or whose lease ran out) at this time or later. ISO 8601, in UTC unless it says otherwise,
        or Unix seconds.
      - The time is the job's own (C(ended_at)), else that of its newest result, else its place in the registry.
    type: str
  failed_before:
    description:
      - Only jobs that failed at this time or earlier.
      - Without it, jobs that were requeued by this very run and failed again are left alone, so that a run ends.
    type: str
  older_than:
    description: Only jobs that failed at least this long ago; C(90s), C(15m), C(2h) or C(1d).
    type: str
  worker:
    description: Only jobs that one of these workers ran.
    type: list
    elements: str
    default: []
  include_stopped:
    description: Also jobs that a person stopped. RQ's own command takes them.
    type: bool
    default: false
  include_completed:
    description:
      - Also jobs that had probably done their work before their worker lost Redis, so that they would run twice.
      - They are told by their traceback. It lies in the worker's bookkeeping after the function's return.
    type: bool
    default: false
"""
