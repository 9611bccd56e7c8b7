"""The child process: read one ``Job`` from standard input, do it, answer an ``Outcome``.

Run by ``bench.contest`` as ``python -m bench.job``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Protocol, cast

import msgspec

from bench.spec import Job, Outcome


class Workload(Protocol):
    """What every module of ``bench.workloads`` that a row names offers."""

    def prepare(self, job: Job) -> Outcome:
        """Make the store that ``measure`` will open."""

    def measure(self, job: Job) -> Outcome:
        """Take the figure."""


def perform(job: Job) -> Outcome:
    """Run the job in this process."""
    workload = cast("Workload", import_module(f"bench.workloads.{job.workload}"))
    return workload.prepare(job) if job.step == "prepare" else workload.measure(job)


def main() -> None:
    """Standard input to standard output; an exception is the exit code and standard error."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.buffer.write(msgspec.json.encode(perform(job)))


if __name__ == "__main__":
    main()
