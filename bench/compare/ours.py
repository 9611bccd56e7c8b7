"""Holdfast, opened as anybody opens it; the only file here that looks inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import holdfast
from bench.compare.engine import Engine, Key, Setting

_NAMESPACE = "bench"


class Ours(Engine):
    """One Holdfast store with one namespace."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        """Open with the defaults, but for what the setting says."""
        own: dict[str, Any] = {"sync": setting.durability}
        if setting.bucket_bytes is not None:
            own["bucket_bytes"] = setting.bucket_bytes
        if setting.upkeep is not None:
            own["upkeep"] = setting.upkeep
        self.store = holdfast.open(folder, **own)
        self.namespace = self.store.namespace(_NAMESPACE)
        self.put = self.namespace.put
        self.put_many = self.namespace.put_many
        self.get = self.namespace.get

    @staticmethod
    def native(key: str) -> Key:
        """Text: Holdfast's keys are UTF-8, and the encoding is ours to pay."""
        return key

    def list(self, prefix: Key, count: int) -> list[Key]:
        """One prefix list."""
        return list(self.namespace.list(prefix, limit=count))

    def overlay_keys(self) -> int | None:
        """Entries of all buckets' overlays; not on the public face."""
        return overlay_keys(self.store)

    def close(self) -> None:
        """Close: the last checkpoint is taken here."""
        self.store.close()


def overlay_keys(store: Any) -> int | None:  # noqa: ANN401 - reaches below the face
    """How many index entries no checkpoint has absorbed; None where the store cannot say."""
    del store
    return None


def start(folder: Path, setting: Setting) -> Engine:
    """Open (or create) a Holdfast store in ``folder``."""
    return Ours(folder, setting)
