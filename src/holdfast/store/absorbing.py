"""The trees of the buckets that this process holds, and where their objects are read."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from holdfast.bucket.checkpoint import Pace, no_pace
from holdfast.certify.absorb import PAGE, Absorbed
from holdfast.certify.pages import NAME, Damaged, Files, Standing
from holdfast.engines.disk import OsDisk
from holdfast.errors import Changed, HoldfastError, Moved
from holdfast.log.entry import Entry
from holdfast.log.records import Flag
from holdfast.placement.elsewhere import Elsewhere, Page
from holdfast.request import large

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.store.store import Store

UNSAVED: Final = 1_000  # changes that are not on disk, before upkeep writes a tree
UNSAVED_MOST: Final = 500_000  # the same, while writers are at work
ATTEMPTS: Final = 64  # a bucket may split or merge, again and again


class Absorbing:
    """What the buckets of a process have absorbed. Used by one thread at a time.

    Args:
        store: the open store, or the part of one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = index_folder(store)
        self._saving = Lock()
        self._met = 0  # which version of the directory the trees are of
        self.absorbed: dict[str, Absorbed] = {}

    def catch_up(self, pace: Pace = no_pace) -> list[Absorbed]:
        """Absorb all that was published before the call; the trees in order of their ranges.

        Args:
            pace: called between slices of it.

        Raises:
            Changed: ranges changed each time. Corrupt, StorageFailed: an object cannot be read.
        """
        directory = self._store.placement.directory
        for _ in range(ATTEMPTS):
            pieces = self._take_in(directory, pace)
            try:
                for piece in pieces:
                    piece.catch_up(pace)
            except Moved:
                directory.look_again()
                continue
            return pieces
        raise Changed(what="ranges of buckets")

    def meet(self, pace: Pace = no_pace) -> None:
        """Have buckets that were split off since begin with their parents' trees, to be followed.

        What a merge brought is read; where that fails, whoever asks for a seal is told.
        Nothing is made before the first proof is asked for.
        """
        directory = self._store.placement.directory
        version = directory.version
        if self.absorbed and version != self._met:
            for piece in self._take_in(directory, pace):
                piece.narrow(pace)
                if piece.start < piece.stop < piece.bucket.stop:
                    with suppress(HoldfastError):
                        piece.catch_up(pace)
            self._met = version

    def _take_in(self, buckets: Iterable[Bucket], pace: Pace) -> list[Absorbed]:
        """The trees of buckets in order of their ranges, so that a parent comes before its child.

        None of them was cut since the last time: a child finds in its parent's what was its own.
        """
        known = self.absorbed
        found: dict[str, Absorbed] = {}
        for bucket in buckets:
            piece = known.get(bucket.id)
            if piece is None or piece.bucket is not bucket:
                piece = Absorbed(bucket, self.pieces, self._files(bucket))
                parent = found.get(bucket.forked_from)
                if parent is not None:
                    piece.adopt(parent, pace)
            found[bucket.id] = piece
        self.absorbed = found
        return list(found.values())

    def _files(self, bucket: Bucket) -> Files | None:
        return None if self._folder is None else Files(self._folder / bucket.id, bucket.id)

    def save(self, piece: Absorbed, standing: Standing | None, pace: Pace = no_pace) -> None:
        """Write down the tree of a bucket; others may absorb and prove meanwhile."""
        if piece.files is None or standing is None or piece.bucket.closed:
            return
        with self._saving, suppress(Damaged):
            piece.files.save(standing, piece.bucket.sync_to, pace)

    def close(self) -> None:
        """Write down what is not on disk yet; what cannot be is made again."""
        for piece in self.absorbed.values():
            with suppress(OSError, HoldfastError):
                self.save(piece, piece.standing())

    def doubt(self) -> None:
        """A proof that was made is none: what was read from disk is not what was written.

        Where no page is known to be damaged, none is believed.
        """
        files = [piece.files for piece in self.absorbed.values() if piece.files is not None]
        if not any(one.damaged for one in files):
            for one in files:
                one.doubt()

    def pieces(self, composite: bytes, entry: Entry) -> Iterable[bytes]:
        """The whole value of an object, piece by piece."""
        corridor = self._store.corridor
        if entry.flags & Flag.LARGE:
            return large.pieces(corridor, composite, "", entry, 0, entry.size)
        whole = corridor.read(
            composite, lambda bucket: bucket.read_extents(composite, entry, 0, entry.size)
        )
        return (whole,)


def index_folder(store: Store) -> Path | None:
    """Where the views of a store's buckets lie; None where they are in memory."""
    return Path(store.path, store.file.index_dir) if isinstance(store.disk, OsDisk) else None


def drop_trees(store: Store) -> None:
    """Throw away what was written down of trees: the next process makes them from the objects."""
    folder = index_folder(store)
    if folder is not None:
        for bucket in store.placement.directory:
            (folder / bucket.id / NAME).unlink(missing_ok=True)


def page_of(bucket: Bucket | Elsewhere, start: bytes, stop: bytes) -> Page:
    """Rows of a range, expired ones among them: they are in the tree until they are removed."""
    if isinstance(bucket, Elsewhere):
        return bucket.rows(start, stop, PAGE)
    return bucket.page(start, stop, PAGE)
