"""Holdfast and its rivals behind one face, each set up as its own users would.

Comes in: a name, a folder and a ``Setting``. Goes out: an ``Engine``.

Keeps: nothing. Must never know: which workload runs, or what the target is.

Invariants: an engine gets keys in the type it likes best (``native``), prepared
before the clock starts; ``put``, ``put_many`` and ``get`` are the engine's own
calls wherever it has one, with no layer of ours between; equal ``Setting`` means
equal promises. How each rival is set up, and why, heads its file.
"""

from __future__ import annotations

from importlib import import_module, util
from pathlib import Path

from bench.compare.engine import Engine, Key, Opener, Pair, Setting

OURS = "holdfast"
MODULES = {
    OURS: "ours",
    "rocksdict": "rocks",
    "lmdb": "lightning",
    "sqlite3": "sqlite",
    "diskcache": "disk_cache",
    "bare": "bare",
}
PACKAGES = ("holdfast", "rocksdict", "lmdb", "diskcache", "crc32c", "msgspec")

__all__ = ["MODULES", "OURS", "PACKAGES", "Engine", "Key", "Pair", "Setting", "installed", "start"]


def start(name: str, folder: Path, setting: Setting) -> Engine:
    """Open (or create) the engine's store in ``folder``.

    >>> start("sqlite3", Path("kv"), Setting("never")).close()  # doctest: +SKIP
    """
    module = import_module(f"bench.compare.{MODULES[name]}")
    opener: Opener = module.start
    return opener(folder, setting)


def installed(name: str) -> bool:
    """Whether the engine can be used here; our own counts once its door exists."""
    if name == OURS:
        found = util.find_spec(OURS)
        return found is not None and hasattr(import_module(OURS), "open")
    return name in ("bare", "sqlite3") or util.find_spec(name) is not None
