"""An open store."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from holdfast.bucket import counted
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.dormant import Told, leave
from holdfast.bucket.lag import READS_MOST
from holdfast.bucket.sessions import new_session
from holdfast.bucket.settings import Settings
from holdfast.engines.disk import OsDisk
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.errors import (
    Closed,
    HoldfastError,
    InvalidValue,
    NotFound,
    OutcomeUnknown,
    Permanent,
    StorageFailed,
    Unavailable,
)
from holdfast.log.records import Flag
from holdfast.operations import Delete
from holdfast.placement.elsewhere import Elsewhere
from holdfast.placement.placement import WHOLE, Placement, Share
from holdfast.request import arguments, listing
from holdfast.request.corridor import Corridor
from holdfast.request.relay import Relay
from holdfast.request.soon import Soon
from holdfast.store import closed, forked
from holdfast.store.direct import DirectBucket
from holdfast.store.finding import SearchingAll, resume
from holdfast.store.folders import refuse_within
from holdfast.store.money import Money
from holdfast.store.namespace import Namespace
from holdfast.store.ownership import Owners, StoreFile
from holdfast.upkeep.backup import back_up
from holdfast.upkeep.charger import Charger
from holdfast.upkeep.check import check
from holdfast.upkeep.pacing import paced
from holdfast.upkeep.status import place_of, status
from holdfast.upkeep.upkeep import Upkeep
from holdfast.values import CheckReport, CollectReport, DeadLetter, Place, Progress, Status

if TYPE_CHECKING:
    from holdfast.access.access import Access
    from holdfast.identity.tokens import Tokens
    from holdfast.placement.elsewhere import Link
    from holdfast.store.certifying import Certifier

MODES = ("auto", "copying", "compacting")


class Store(Money, SearchingAll):
    """A store, open. Made by ``holdfast.open``; a context manager; safe for threads."""

    def __init__(
        self,
        settings: Settings,
        path: str,
        owners: Owners,
        *,
        disk: Disk,
        file: StoreFile,
        upkeep: bool,
        share: Share = WHOLE,
        left: closed.Closed | None = None,
    ) -> None:
        self.path = path
        self.base_url: str | None = None  # where a server of this store answers, for links
        self._tokens: Tokens | None = None
        self._access: Access | None = None
        self._certifier: Certifier | None = None
        self.wings: list[Callable[[], None]] = []  # closed before the buckets are
        self.peers: Sequence[Link] = ()  # other processes, where this one signs for all
        self.partners: Sequence[Link] = ()  # every other process, where several share the store
        self._searcher = None
        self._tenancy = Lock()
        self.clock = settings.clock
        self.entropy = settings.entropy
        self.file = file
        self.disk = disk
        self._settings = settings
        self._owners = owners
        self._closed = False
        self.rights_changed: Callable[[], object] = _nothing  # tells other processes of the store
        self.metering_changed: Callable[[], object] = _nothing  # tells who serves it here
        self.address = "local"  # where others reach this process, once a door says so
        if left is not None:
            settings.time.raise_to(left.time_ns)
        self.placement = Placement(settings, share, closed.asleep(left))
        self.corridor = Corridor(self.placement, self._has_room)
        self.relay = Relay(self.corridor, self._place)
        self.upkeep = Upkeep(self.corridor)
        self.upkeep.index = partial(resume, self)
        self.upkeep.lazy.append(self._follow_meters)
        self.corridor.funds.help = self._help
        self.soon = Soon(self.corridor, self.sync)
        settings.lags.most = READS_MOST // (1 + len(share.others))
        self._charger = Charger(settings.lags)
        if upkeep:
            self._charger.begin()
            self.upkeep.start()
        else:
            self.placement.reserve.fit(self.placement.directory)
        forked.watch(self)

    # -- namespaces ---------------------------------------------------------------

    def namespace(self, name: str) -> Namespace:
        """A namespace by its name: 1 to 128 of ``[A-Za-z0-9._-]``, else InvalidNamespace."""
        self._require_open()
        return Namespace(self, name)

    def namespaces(self) -> builtins.list[str]:
        """The namespaces that hold an object, in byte order."""
        self._require_open()
        return [listing.name_of(name, b"") for name in listing.namespaces(self.corridor)]

    def drop_namespace(self, name: str) -> None:
        """Remove everything in a namespace; Permanent (and nothing changed) if something is."""
        self._require_open()
        space = arguments.namespace_bytes(name)
        start, stop = space + arguments.VISIBLE, space + arguments.HIDDEN
        if any(bucket.special for bucket in self.placement.directory.table[1]):
            self._refuse_permanent(start, stop)
        reserved = arguments.RESERVED
        if listing.any_below(
            self.corridor, reserved + arguments.VISIBLE, reserved + arguments.HIDDEN
        ):
            self.access.forget(name)  # first: whoever has the name next begins with nothing given
            self.forget_rules(name)
        for page in listing.rows(self.corridor, start, stop):
            dropped = [Delete(key, listing.name_of(key, start), "dropped") for key, _ in page]
            for outcome in self.corridor.write_many(dropped):
                if isinstance(outcome, HoldfastError) and not isinstance(outcome, NotFound):
                    raise outcome  # what went is gone; who asks again drops the rest

    def _refuse_permanent(self, start: bytes, stop: bytes) -> None:
        for page in listing.rows(self.corridor, start, stop):
            for key, row in page:
                if row[36] & Flag.PERMANENT:
                    raise Permanent(key=listing.name_of(key, start))

    # -- rights ------------------------------------------------------------------------

    @property
    def tokens(self) -> Tokens:
        """Issues, verifies and revokes tokens; made, with its signing key, when first used."""
        with self._tenancy:
            if self._tokens is None:
                self._require_open()
                from holdfast.store.tenancy import make_tokens  # noqa: PLC0415 - 50 ms

                self._tokens = make_tokens(self)
            return self._tokens

    @property
    def access(self) -> Access:
        """What was granted and published, and the decisions of every door; made at first use."""
        with self._tenancy:
            if self._access is None:
                self._require_open()
                from holdfast.store.tenancy import make_access  # noqa: PLC0415 - 50 ms

                self._access = make_access(self)
            return self._access

    # -- proofs -------------------------------------------------------------------------

    @property
    def certifier(self) -> Certifier:
        """Seals the store and proves from it; made, with its signing key, when first used."""
        with self._tenancy:
            if self._certifier is None:
                self._require_open()
                from holdfast.store.certifying import Certifier  # noqa: PLC0415 - 50 ms

                self._certifier = Certifier(self)
                self.upkeep.lazy.append(self._certifier.follow)
                self.wings.append(self._certifier.close)
            return self._certifier

    def certify_by(self, certifier: Certifier) -> None:
        """Have another process, which signs for all that share the store, seal and prove."""
        self._certifier = certifier

    def public_key(self) -> bytes:
        """The key that this store's proofs and tokens are verified with, PEM."""
        return self.certifier.public_key()

    def rotate_key(self) -> bytes:
        """Sign with a new key from now on; the new public key, PEM.

        The old key signs a hand-over to the new one, which later proofs carry: who trusts
        the old key believes them, and who is given the new one needs nothing of the old.
        Tokens and links that the old key signed end.

        Raises:
            Unavailable: several processes share the store.
        """
        if self.placement.directory.shared:
            raise Unavailable(reason="a new key while several processes share the store")
        self.certifier.rotate()
        with self._tenancy:
            self._tokens = None
        return self.public_key()

    # -- numbered writes ----------------------------------------------------------------

    def begin_session(self) -> str:
        """A session for numbered writes, as 32 hex digits (``Namespace.numbered``).

        Every bucket knows it at once. It is good for 7 days, and beyond them in every
        bucket that it wrote to in the 7 days before.
        """
        self._require_open()
        settings = self._settings
        return new_session(settings.identity, settings.time.now_ns(), self.entropy).hex()

    # -- direct access ----------------------------------------------------------------

    def locate(self, namespace: str, key: str) -> Place:
        """Where a key lives, or would: its bucket and the range that bucket holds.

        The first step of a two-step get; ``store.bucket(place.bucket)`` is the second.
        """
        self._require_open()
        space = arguments.namespace_bytes(namespace)
        composite = arguments.compose(space + arguments.VISIBLE, key)
        bucket = self.placement.directory.find(composite)
        if not isinstance(bucket, Elsewhere):
            counted.count(bucket, composite, "C", 0)
        return self._place(composite, space)

    def _place(self, composite: bytes, space: bytes) -> Place:
        return place_of(self.placement.directory, composite, space, self.address)

    def bucket(self, id: str) -> DirectBucket:  # noqa: A002 - the face
        """A bucket by its id; NotFound where there is none."""
        self._require_open()
        for bucket in self.placement.directory:
            if bucket.id == id:
                return DirectBucket(self, bucket)
        raise NotFound(bucket=id)

    # -- upkeep -------------------------------------------------------------------------

    def status(self) -> Status:
        """Every bucket's keys, live, dead and on-disk bytes; exact."""
        self._require_open()
        found = self.upkeep.scrub.problems
        return status(self.placement.directory, self.soon.died(), self.search_behind(), found)

    def check(
        self,
        repair: bool = False,  # noqa: FBT001, FBT002 - the face
        *,
        progress: Progress | None = None,
    ) -> CheckReport:
        """Verify every byte of every log, and every view against its log.

        Args:
            repair: keep what verifies, derive views again, name what is lost.
            progress: is kept up to date, for whoever looks: segments and views.
        """
        self._require_open()
        told = arguments.progress(progress)
        if arguments.flag(repair, "repair"):
            self._drop_trees()
        return check(self.placement, repair=repair, progress=told)

    def collect(
        self,
        mode: Literal["auto", "copying", "compacting"] = "auto",
        *,
        progress: Progress | None = None,
    ) -> CollectReport:
        """Remove what is expired or unreferenced and give dead bytes' space back.

        Args:
            mode: which collector works; "auto" is what suits each segment.
            progress: is kept up to date, for whoever looks: buckets.
        """
        self._require_open()
        if mode not in MODES:
            raise InvalidValue(argument="mode", reason="auto, copying or compacting")
        return self.upkeep.collect(mode, arguments.progress(progress))

    def rebuild(self, *, progress: Progress | None = None) -> None:
        """Throw every view away and derive it again from the log.

        Args:
            progress: is kept up to date, for whoever looks: buckets.
        """
        self._require_open()
        told = arguments.progress(progress)
        self._drop_trees()
        buckets = list(self.placement.directory)
        told.total = len(buckets)
        for bucket in buckets:
            self.placement.rebuild(bucket)
            told.done += 1

    def _drop_trees(self) -> None:
        from holdfast.store.absorbing import drop_trees  # noqa: PLC0415 - only who proves needs it

        drop_trees(self)

    def backup(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        """Copy the store, as it is at one moment, into a folder that is absent or empty.

        Writers go on meanwhile. Sealed segments become hard links where the folder is
        on the same file system. ``holdfast.restore`` makes a store of it.

        Args:
            path: the folder.
            progress: is kept up to date, for whoever looks: bytes.

        Raises:
            InvalidValue: the folder is not empty, or lies among the segments, or in the index.
            Corrupt: a segment does not verify.
            StorageFailed: the disk refused; no backup was made.
        """
        self._require_open()
        told = arguments.progress(progress)
        # A backup is for what outlives the process: that of a store in memory too.
        disk = OsDisk() if isinstance(self.disk, MemoryDisk) else self.disk
        target = arguments.path(path)
        real = isinstance(disk, OsDisk)
        if real:
            target = os.path.abspath(target)  # noqa: PTH100 - plain paths
        if disk is self.disk:
            refuse_within(target, self.path, self.file, real=real)
        back_up(
            self.placement,
            disk,
            target,
            own_disk=disk is self.disk,
            pace=paced(),
            progress=told,
        )

    def tick(self, budget_s: float = 0.05) -> None:
        """Run upkeep that is due, for about ``budget_s`` seconds.

        Longer where a search would have to take in more than 100,000 records.
        """
        self._require_open()
        self.upkeep.tick(arguments.seconds(budget_s, "budget_s"))

    def sync(self) -> None:
        """Make every write that has returned durable, whatever the sync mode.

        Where processes share the store, the others do so too.

        Raises:
            OutcomeUnknown: of a bucket that could not be made durable, after all
                others were; it names the versions that a crash may take.
        """
        self._sync_own()
        for other in self.placement.directory.others():
            other.sync_published()

    def _sync_own(self) -> None:
        lost: OutcomeUnknown | None = None
        for bucket in list(self.placement.directory):
            if bucket.dormant or bucket.damage is not None:
                continue
            try:
                bucket.sync_published()
            except OutcomeUnknown as error:
                lost = lost or error
        if lost is not None:
            raise lost

    def flush(self) -> builtins.list[DeadLetter]:
        """Wait until everything queued by ``put_soon`` is durable; what failed since last time.

        The newest 10,000 of that, if it is more; ``status().dead_letters`` counts all.
        """
        self._require_open()
        failures = self.soon.flush()
        self.sync()
        return failures

    def dead_letters(self) -> builtins.list[DeadLetter]:
        """Every ``put_soon`` that could not be stored, the newest 10,000; after ``close``, too."""
        return self.soon.letters()

    def _has_room(self, bucket: Bucket) -> bool:
        """Whether a bucket's memory can take another write (rule 10)."""
        return self.upkeep.has_room(bucket)

    # -- the end ------------------------------------------------------------------------

    def close(self) -> None:
        """Store what is queued, absorb what is in memory, let go of the folder. Idempotent.

        Raises:
            OutcomeUnknown: what a crash may take, as of ``sync``. StorageFailed: the disk
            refused. The store is closed all the same.
        """
        if self._closed:
            return
        self._closed = True
        told: list[Told | None] = [None]
        try:
            if self._access is not None:
                self._access.close()
            self.soon.close()
            self.upkeep.stop()
            self._charger.stop()
            self.upkeep.settle()
            for wing in self.wings:
                wing()
            self._sync_own()
            self.placement.directory.closed = True
            if self.placement.share is WHOLE:
                with self.placement.changing:
                    told = [leave(bucket) for bucket in self.placement.directory]
        finally:
            self.placement.directory.closed = True
            try:
                failed = self._close_buckets()
                self._settings.time.end()
                if failed is None:
                    closed.put_if_clean(self.disk, self.path, self._settings, told)
            finally:
                self._owners.release()
        if failed is not None:
            raise failed

    def disown(self) -> None:
        """Be closed, in a child of the process that opened it (forked.py)."""
        if self._closed:
            return  # the number of its lock's descriptor may be another file's by now
        self._closed = True
        self.soon.disown()
        self.placement.directory.disown()
        self._owners.disown()

    def _close_buckets(self) -> StorageFailed | None:
        """Close every bucket; what the disk refused first."""
        failed = None
        for bucket in self.placement.directory:
            try:
                bucket.close()
            except StorageFailed as error:
                failed = failed or error
        return failed

    def _opened(self) -> Store:
        self._require_open()
        return self

    def _require_open(self) -> None:
        if self._closed:
            raise Closed(path=self.path)

    def __enter__(self) -> Self:
        self._require_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.path!r})"


def _nothing() -> None:
    """Nobody else has the store."""
