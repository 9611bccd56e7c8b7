"""Where stores are made and measurements are started: one child process for each."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.compare import Setting
from bench.rows import STORES, Base, Row
from bench.scale import Scale
from bench.spec import Job, Outcome

_TIMEOUT_S = 3_600
_ROOT = Path(__file__).resolve().parent.parent


class ChildFailedError(Exception):
    """A job ended with an error; the message is its last line."""


class Workshop:
    """The stores of one run, in one folder that is removed at its end."""

    def __init__(self, folder: Path, scale: Scale) -> None:
        """``folder`` exists and is empty."""
        self._folder = folder
        self.scale = scale
        self._kept: dict[tuple[str, Base], Path] = {}
        self._first: dict[str, int] = {}
        self._made = 0

    def measure(self, row: Row, engine: str, variant: str | None = None) -> Outcome:
        """Make or find the row's store for the engine, measure on it, clean up."""
        base = self._base(row)
        folder = self._store(row, base, engine)
        try:
            job = self._job(row, base, engine, folder)
            return run(job if variant is None else msgspec.structs.replace(job, variant=variant))
        finally:
            if not (base in STORES and STORES[base].kept):
                shutil.rmtree(folder.parent, ignore_errors=True)

    def forget(self, engine: str) -> None:
        """Remove the engine's kept stores."""
        for key in [key for key in self._kept if key[0] == engine]:
            shutil.rmtree(self._kept.pop(key).parent, ignore_errors=True)
        self._first.pop(engine, None)

    def _base(self, row: Row) -> Base:
        """At rest, what would start on an empty store starts on the loaded one."""
        return "loaded" if self.scale.at_rest and row.at_rest else row.base

    def _store(self, row: Row, base: Base, engine: str) -> Path:
        if (engine, base) in self._kept:
            return self._kept[engine, base]
        self._made += 1
        folder = self._folder / f"{self._made}" / "store"
        folder.parent.mkdir()
        if base not in STORES:
            return folder
        store = STORES[base]
        run(
            Job(
                store.workload,
                "prepare",
                engine,
                str(folder),
                row.setting if not store.kept else Setting("never"),
                keys=getattr(self.scale, store.count),
                first=0,
                operations=0,
                value_bytes=store.value_bytes,
            )
        )
        if store.kept:
            self._kept[engine, base] = folder
        return folder

    def _job(self, row: Row, base: Base, engine: str, folder: Path) -> Job:
        keys = getattr(self.scale, STORES[base].count if base in STORES else "loaded")
        operations = getattr(self.scale, row.count)
        first = 0 if base == "empty" else keys
        if base == "loaded":  # kept: what earlier rows wrote is still there
            first = self._first.setdefault(engine, keys)
            self._first[engine] += operations
        return Job(
            row.workload,
            "measure",
            engine,
            str(folder),
            row.setting,
            keys=keys,
            first=first,
            operations=operations,
            batch=row.batch,
            value_bytes=row.value_bytes,
            variant=row.variant,
        )


def run(job: Job) -> Outcome:
    """Do the job in a child process, after what earlier ones wrote has reached the disk.

    Raises ChildFailedError. A ``prepare`` may end by SIGKILL: that is its purpose.
    """
    os.sync()
    done = subprocess.run(
        [sys.executable, "-m", "bench.job"],
        input=msgspec.json.encode(job),
        capture_output=True,
        cwd=_ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT / "src"), str(_ROOT)])},
        timeout=_TIMEOUT_S,
        check=False,
    )
    if job.step == "prepare" and done.returncode == -signal.SIGKILL:
        return Outcome(job.keys, 0.0)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        message = f"{job.engine} {job.step} {job.workload}: {lines[-1]}"
        raise ChildFailedError(message)
    return msgspec.json.decode(done.stdout, type=Outcome)
