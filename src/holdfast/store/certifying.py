"""The store's sequencer of roots: it seals what all buckets hold, signs, and proves from it.

A seal absorbs what every bucket published before it began (``certify/absorb.py``), makes one
tree of it and signs its root; the signed root is stored, durably, before anybody is shown it,
so a revision is never given twice. Signed roots are history: they lie in the store under the
name that no caller can spell (``history.py``), and are backed up with the rest. One seal
serves all who wait for one. Nothing of this is made before the first proof is asked for. The
trees are written down beside the views of their buckets (``certify/pages.py``); no proof leaves
that does not lead to the root which was signed, so a damaged page costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from threading import Condition
from typing import TYPE_CHECKING, Final

from holdfast.certify import leaf, receipts, roots, state, verify
from holdfast.certify.absorb import Absorbed, content_of
from holdfast.certify.leaf import namespace_id
from holdfast.certify.merkle import Log
from holdfast.certify.pages import Damaged
from holdfast.certify.parts import Window
from holdfast.certify.ranges import VISIBLE, bounds, split_key
from holdfast.certify.roots import SignedRoot
from holdfast.certify.state import Part, State
from holdfast.certify.stored import attach
from holdfast.certify.tree import Node
from holdfast.certify.watch import History, Seen
from holdfast.errors import (
    Changed,
    HoldfastError,
    InvalidValue,
    LimitExceeded,
    Moved,
    NotFound,
    Unavailable,
)
from holdfast.limits import OBJECT_BYTES
from holdfast.log.entry import Entry, unpack
from holdfast.placement.directory import HIGHEST, LOWEST
from holdfast.request import arguments, listing
from holdfast.store.absorbing import Absorbing, page_of
from holdfast.store.following import Following
from holdfast.store.handing import Taken, Takings
from holdfast.store.history import Signed
from holdfast.store.rotation import Keys
from holdfast.store.routing import Routing
from holdfast.store.seals import Seal, listed, lives, shown, told
from holdfast.store.tenancy import StoreRecords
from holdfast.upkeep.pacing import Turns
from holdfast.values import Proven, ProvenPage, ProvenParts

if TYPE_CHECKING:
    from holdfast.store.store import Store

FRESH_NS: Final = 1_000_000_000  # a seal of what is still there serves for so long
WAIT_S: Final = 0.02
ATTEMPTS: Final = 64  # a writer may be at the very object, again and again


Looked = tuple[bytes | None, bytes | None]  # what is taken of a value, and its leaf's content
Take = Callable[[Entry, Iterable[bytes]], Looked]


class Certifier:
    """Seals and proves. Made by ``store.certifier``; safe for threads.

    Args:
        store: the open store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = StoreRecords(store)
        self._id = bytes.fromhex(store.file.store)
        self._absorbing = Absorbing(store)
        self.follow = Following(store, self._absorbing, self._turn_to_follow).follow  # by upkeep
        self._takings = Takings(store.peers)
        self._parts: dict[bytes, tuple[Part, ...]] = {}
        self._signed = Signed(self._records)
        self._routing = Routing(self._records)
        self._sealed: Seal | None = None
        self._turn = Condition()
        self._begun = self._ended = 0
        self._sealing = False
        self._renew = False  # the newest seal serves no longer, though nothing was written
        self._keys = Keys(store, self._records, self._next_revision)

    def public_key(self) -> bytes:
        """The public key that proofs of this store are verified with, PEM."""
        return self._keys.current.public_pem()

    def rotate(self) -> None:
        """Replace the signing key; whoever trusts the old one can go on with what it signed."""
        with self._turn:
            while self._sealing:
                self._turn.wait()
            self._keys.rotate()
            self._renew = True

    # -- sealing -----------------------------------------------------------------------

    def seal(self) -> Seal:
        """A seal of everything that was visible when this was called.

        Whoever asks while one is being made waits for the next, which serves them all.
        """
        with self._turn:
            wanted = self._begun + 1
            while self._sealing and self._ended < wanted:
                self._store.upkeep.hurry()  # where it follows, it goes on without resting
                self._turn.wait()
            if self._ended >= wanted and self._sealed is not None:
                return self._sealed
            self._sealing, self._begun = True, wanted
        made: Seal | None = None
        try:
            with self._store.upkeep.pacer.beside():
                made = self._seal()
        finally:
            with self._turn:
                self._sealing = False
                if made is not None:
                    self._sealed, self._ended = made, wanted
                self._turn.notify_all()
        return made

    @contextmanager
    def _turn_to_follow(self) -> Iterator[bool]:
        """Keep seals waiting for a moment; False where one is being made."""
        with self._turn:
            mine = not self._sealing
            self._sealing |= mine
        try:
            yield mine
        finally:
            with self._turn:
                self._sealing &= not mine
                self._turn.notify_all()

    def close(self) -> None:
        """Write down the trees, so that the next opening goes on from here."""
        self._absorbing.close()

    def last(self) -> Seal:
        """The newest seal; the first, where there is none yet."""
        return self._sealed or self.seal()

    def _seal(self) -> Seal:
        made = self._assemble(self._gather())
        now = self._store.clock.wall_ns()
        last = self._sealed
        if last is not None and last.root.root == made.root and self._is_fresh(last, now):
            return last
        self._store.sync()  # nothing is signed that a crash could take
        try:
            message, root = self._sign(made, now)
        except HoldfastError:
            self._signed.forget()  # whether it is stored shows when it is read again
            raise
        return Seal(message, root, made, tuple(self._keys.handovers))

    def _is_fresh(self, last: Seal, now_ns: int) -> bool:
        return not self._renew and 0 <= now_ns - last.root.time_ns < FRESH_NS

    def _sign(self, made: State, now_ns: int) -> tuple[bytes, SignedRoot]:
        """Sign the next root and store it, durably."""
        log = self._signed.log
        place = (self._store.file.incarnation, self._next_revision(), now_ns)
        root = SignedRoot(self._id, *place, made.root, len(log), log.root())
        message = roots.sign(root, self._keys.current.private)
        self._signed.add(message, root)
        return message, root

    def _next_revision(self) -> int:
        """The first revision that nothing was signed for."""
        least = self._store.file.incarnation << roots.INCARNATION_BITS
        last = self._signed.last
        return max(last.revision + 1 if last else 0, least)

    def _gather(self) -> list[Absorbed | Taken]:
        """Every bucket's tree, in order of their ranges, which meet."""
        directory = self._store.placement.directory
        if directory.shared and not self._store.peers:
            raise Unavailable(reason="another process of this store signs for all")
        for attempt in range(ATTEMPTS):
            if attempt and directory.shared:  # a bucket is on its way between two processes
                self._store.clock.sleep(WAIT_S)
            try:
                own = self._absorbing.catch_up(Turns())
                others = self._takings.take()
            except Moved:
                directory.look_again()
                continue
            pieces: list[Absorbed | Taken] = [*own, *others]
            pieces.sort(key=lambda piece: piece.start)
            edges = [LOWEST, *(piece.stop for piece in pieces)]
            if edges == [*(piece.start for piece in pieces), HIGHEST]:
                return pieces
        raise Changed(what="ranges of buckets")

    def _assemble(self, pieces: Sequence[Absorbed | Taken]) -> State:
        """The state of all pieces; what did not change is taken from the seal before."""
        names = sorted({name for piece in pieces for name in piece.tries})
        version = self._routing.version(pieces, self._next_revision)
        parts = {
            namespace_id(self._id, name.decode()): tuple(_parts(name, pieces, version))
            for name in names
        }
        before = self._parts
        gone: dict[bytes, tuple[Part, ...]] = {label: () for label in before if label not in parts}
        changed = {
            label: made
            for label, made in parts.items()
            if label not in before or not _same(before[label], made)
        }
        base = self._sealed.state if self._sealed is not None else state.EMPTY
        made = state.assemble(base, {**gone, **changed})
        self._parts = parts
        return made

    # -- proving -----------------------------------------------------------------------

    def prove(
        self, namespace: str, key: str, *, sealed: bool = False, most_bytes: int = OBJECT_BYTES
    ) -> Proven:
        """The value of an object, or that there is none, with its proof.

        Args:
            namespace: its name.
            key: the key.
            sealed: from the newest seal, if that still says what is there.
            most_bytes: of a value that is read; a larger one is LimitExceeded.

        Raises:
            Changed: the object changed each time it was looked at.
        """
        whole = partial(_whole, most_bytes)
        seal, node, value = self._prove(namespace, key, whole, sealed=sealed)
        return Proven(value, *told(seal, node))

    def prove_parts(
        self,
        namespace: str,
        key: str,
        span: tuple[int, int],
        *,
        sealed: bool = False,
        most_bytes: int = OBJECT_BYTES,
    ) -> ProvenParts:
        """The parts of a value that a range reaches into, with the proof of each.

        The whole value is read, a part at a time, to learn what stands beside them.
        """
        window = Window(*span)

        def take(entry: Entry, pieces: Iterable[bytes]) -> Looked:
            asked = min(span[1], entry.size) - span[0]
            if asked > most_bytes:
                raise LimitExceeded(limit="PROVEN_BYTES", most=most_bytes, asked=asked)
            return b"", content_of(entry, window.watch(pieces, entry.size))

        seal, node, value = self._prove(namespace, key, take, sealed=sealed)
        if value is None:
            return ProvenParts(None, *told(seal, node), 0, ())
        held = window.parts()
        paths = tuple(tuple(path) for path in held.paths)
        return ProvenParts(held.data, *told(seal, node), held.first, paths)

    def _prove(
        self, namespace: str, key: str, take: Take, *, sealed: bool
    ) -> tuple[Seal, Node, bytes | None]:
        composite = self._composite(namespace, key)
        label = namespace_id(self._id, namespace)
        low = key.encode()
        for attempt in range(ATTEMPTS):
            seal = self.last() if sealed and not attempt else self.seal()
            value, content = self._look(composite, take)
            with self._wary():
                node = shown(seal, label, low, content)
                if node is None or (not sealed and self._outlived(seal, [content])):
                    continue
                return seal, node, value if lives(seal, content) else None
        raise Changed(key=key)

    @contextmanager
    def _wary(self) -> Iterator[None]:
        """Have a tree made again of which a page on disk turned out to be damaged."""
        try:
            yield
        except Damaged:
            self._absorbing.doubt()
            self._renew = True

    def prove_list(self, namespace: str, prefix: str, *, sealed: bool = False) -> Proven:
        """The proof of every object below a prefix; ``value`` is None.

        Raises:
            Changed: an object changed each time it was looked at.
        """
        page = self.prove_page(namespace, prefix, sealed=sealed)
        return Proven(None, page.proof, page.revision, page.time_ns)

    def prove_page(
        self,
        namespace: str,
        prefix: str,
        *,
        after: str | None = None,
        limit: int | None = None,
        sealed: bool = False,
    ) -> ProvenPage:
        """The same of the first ``limit`` objects above ``after``; all where None."""
        space = arguments.namespace_bytes(namespace) + VISIBLE
        low = arguments.text(prefix, "prefix")
        stop = verify.end_of(low)
        if after is not None:
            low = max(low, arguments.text(after, "after") + b"\x00")
            low = low if stop is None else min(low, stop)
        label = namespace_id(self._id, namespace)
        for attempt in range(ATTEMPTS):
            seal = self.last() if sealed and not attempt else self.seal()
            try:
                contents = dict(islice(self._look_all(space, low, stop), limit))
            except (Changed, Moved, NotFound):
                continue
            last = max(contents) if contents and len(contents) == limit else None
            high = stop if last is None else last + b"\x00"
            with self._wary():
                node = listed(seal, label, (low, high), contents)
                if node is None or (not sealed and self._outlived(seal, contents.values())):
                    continue
                cursor = None if last is None else last.decode()
                return ProvenPage(*told(seal, node), cursor)
        raise Changed(prefix=prefix)

    def _outlived(self, seal: Seal, contents: Iterable[bytes | None]) -> bool:
        """Whether a time to live ended between a seal and now: then it serves no longer."""
        now = self._store.clock.wall_ns()
        ends = [leaf.decode(content).expires_ns for content in contents if content]
        self._renew = any(end is not None and seal.root.time_ns < end <= now for end in ends)
        return self._renew

    def _composite(self, namespace: str, key: str) -> bytes:
        return arguments.compose(arguments.namespace_bytes(namespace) + VISIBLE, key)

    def _look(self, composite: bytes, take: Take) -> Looked:
        """What is taken of an object's value and its leaf's content, expired or not."""
        try:
            row = self._store.corridor.read(composite, lambda bucket: bucket.row(composite))
            if row is None:
                return None, None
            entry = unpack(row)
            return take(entry, self._absorbing.pieces(composite, entry))
        except (Changed, NotFound):
            return None, b""  # matches no leaf: look again

    def _look_all(
        self, space: bytes, low: bytes, high: bytes | None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Every object of a range with its leaf's content, expired or not."""
        stop = listing.successor(space) if high is None else space + high
        corridor = self._store.corridor
        pages = listing.walk(corridor, space + low, stop, partial(page_of, stop=stop))
        for _, page in pages:
            for composite, row in page:
                entry = unpack(row)
                split = split_key(composite)
                if split is not None:
                    yield split[1], content_of(entry, self._absorbing.pieces(composite, entry))

    # -- history -----------------------------------------------------------------------

    def history(self, before: Seen, now: Seen) -> History:
        """What shows that a newer signed root of this store goes on from an older one.

        Raises:
            InvalidValue: not two roots of this store, the older one first.
        """
        return self.history_from(before.log_size, now.log_size)

    def history_from(self, size: int, of: int) -> History:
        """The same, by the sizes of the logs that the two roots commit to.

        Raises:
            InvalidValue: they are not of two roots of this store, the older one first.
        """
        log, whole = self._log()
        if not size < of <= whole:
            raise InvalidValue(argument="size", reason="not of an earlier root of this store")
        consistency = log.prove_consistency(size, of) if size else []
        return History(tuple(consistency), tuple(log.prove_inclusion(size, of)))

    def receipt(self, revision: int) -> tuple[bytes, bytes]:
        """A COSE receipt (RFC 9942) for a signed root, and the root: its leaf in the log.

        Raises:
            NotFound: this store signed no such revision.
        """
        log, size = self._log()
        found = self._signed.get(revision)
        index = roots.decode(found).log_size if found is not None else size
        if found is None or index >= size:
            raise NotFound(revision=revision)
        path, root = log.prove_inclusion(index, size), log.root(size)
        made = receipts.make(
            self._keys.current.private, index=index, size=size, path=path, root=root
        )
        return made, found

    def with_receipt(self, proven: Proven) -> bytes:
        """One file of a proof that was just made and a COSE receipt for its signed root.

        Who has the public key checks it by ``holdfast.certify.stored.verify_stored``; others who
        know RFC 9942 find a signed statement with its receipt.

        Raises:
            NotFound: this store signed no such root.
            ProofInvalid: another key signs since then; prove it anew.
        """
        roots.verify(verify.signed_root_of(proven.proof), self.public_key())
        return attach(proven.proof, self.receipt(proven.revision)[0])

    def _log(self) -> tuple[Log, int]:
        """The log of signed roots, and how many of them stand in it for good."""
        size = self.last().root.log_size + 1
        return self._signed.log, size


def _whole(most_bytes: int, entry: Entry, pieces: Iterable[bytes]) -> Looked:
    """A whole value, and the content of its leaf."""
    if entry.size > most_bytes:
        raise LimitExceeded(limit="PROVEN_BYTES", most=most_bytes, asked=entry.size)
    kept = list(pieces)
    return b"".join(kept), content_of(entry, kept)


def _parts(name: bytes, pieces: Sequence[Absorbed | Taken], version: int) -> Iterator[Part]:
    """The parts of a namespace: one for each bucket that reaches into it."""
    first, beyond = name + VISIBLE, name + arguments.HIDDEN
    for piece in pieces:
        if piece.start < beyond and first < piece.stop:
            start, _ = bounds(name, piece.start, piece.stop)
            yield Part(start, piece.id, version, piece.tries.get(name))


def _same(one: tuple[Part, ...], other: tuple[Part, ...]) -> bool:
    return len(one) == len(other) and all(
        mine.keys is theirs.keys
        and (mine.start, mine.bucket, mine.version) == (theirs.start, theirs.bucket, theirs.version)
        for mine, theirs in zip(one, other, strict=True)
    )
