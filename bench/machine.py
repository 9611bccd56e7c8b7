"""What the figures were measured on: enough to judge them, nothing that names the machine."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import msgspec


class Machine(msgspec.Struct, frozen=True):
    """Cores, memory in GiB, and the versions that shape a figure."""

    cores: int
    processor: str
    memory_gib: int
    kernel: str
    file_system: str
    python: str
    packages: dict[str, str]


def describe(folder: Path, packages: Iterable[str]) -> Machine:
    """Describe this machine; ``folder`` is where the stores are made.

    >>> describe(Path("."), []).cores > 0
    True
    """
    return Machine(
        cores=os.cpu_count() or 1,
        processor=_processor(),
        memory_gib=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)),
        kernel=f"{platform.system()} {platform.release().split('-', 1)[0]}",
        file_system=_file_system(folder.resolve()),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={"sqlite": sqlite3.sqlite_version} | _versions(packages),
    )


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """The type of the mount that holds the folder: the longest mount point above it."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mount, mount_kind = line.split()[:3]
        if folder.is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, mount_kind
    return kind
