"""The ledger: pages of entries, appended one after the other, and what they come to.

A page is a MessagePack array ``[format (1), number, digest of the page before, [bytes of each
entry]]``; its digest is SHA-256 over these bytes, that before the first page is 32 zeros. A page
is stored under its number and only where none is: of two that write at once one is first, the
other takes it in and plans again. So a page is one commit, and history is appended to or not
changed at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Final, Protocol

import msgspec

from holdfast.charges import Line, Terms, total
from holdfast.errors import BalanceEmpty, Busy, Corrupt, Exists, FormatTooNew, InvalidValue
from holdfast.ledger import entries, keeping
from holdfast.ledger.books import RESERVE, Account, Books, Pending
from holdfast.ledger.entries import (
    Charged,
    Deposit,
    Entry,
    Fund,
    Priced,
    Received,
    Returned,
    Rule,
    TopUp,
    Transfer,
    Void,
)
from holdfast.values import planned

FORMAT: Final = 1
NO_DIGEST: Final = bytes(32)
ATTEMPTS: Final = 100
KEEP_PAGES: Final = 256
TOP_UPS: Final = 1_000  # of one page


class Pages(Protocol):
    """Where pages lie; what ``put`` did is durable on return."""

    def get(self, number: int) -> bytes | None:
        """A page, or None where there is none."""

    def put(self, number: int, page: bytes) -> None:
        """Store a page where none is; ``Exists`` where one is."""

    def kept(self) -> bytes | None:
        """What ``keep`` was given last, if that is still there."""

    def keep(self, books: bytes) -> None:
        """Keep what pages came to; it may be lost."""


class Report(msgspec.Struct, frozen=True, array_like=True):
    """What a bucket says of its float of one account.

    ``received`` is the newest transfer that it has, ``returned`` what it gave back by its own
    numbers (number and amount of each), ``lines`` what it charged with records of versions behind
    ``start`` up to ``stop``.
    """

    account: str
    bucket: str
    received: int = 0
    returned: tuple[Pending, ...] = ()
    start: int = 0
    stop: int = 0
    lines: tuple[Line, ...] = ()


@planned
class _Page(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    format: int
    number: int
    before: bytes
    entries: tuple[bytes, ...]


Plan = Callable[[Books], Sequence[Entry]]


class Ledger:
    """The books of a store, kept in pages. Safe for threads, and for several processes.

    Args:
        pages: where they lie.
        store: the id of the store.
        now_ns: bucket time, which never goes back.
    """

    def __init__(self, pages: Pages, store: str, now_ns: Callable[[], int]) -> None:
        self._pages = pages
        self._clock_ns = now_ns
        self._floor_ns = 0
        self._lock = Lock()
        self._books = Books(store)
        self._next = self._kept = 0
        self._digest = NO_DIGEST
        self._is_opened = False

    def now_ns(self) -> int:
        """Bucket time, as entries are given it."""
        return max(self._clock_ns(), self._floor_ns)

    def raise_to(self, floor_ns: int) -> None:
        """Give no entry an earlier time: a statement was made of the time before it."""
        self._floor_ns = max(self._floor_ns, floor_ns)

    @property
    def head(self) -> tuple[int, bytes]:
        """How many pages there are, and the digest of the last."""
        self.books()
        return self._next, self._digest

    def books(self) -> Books:
        """The books, with everything that was appended. To look at, not to change."""
        with self._lock:
            self._catch_up()
            return self._books

    def account(self, name: str) -> Account:
        """An account as it is now."""
        return self.books().account(name)

    def history(self) -> Iterator[Entry]:
        """Every entry, from the first; the chain of pages is checked on the way.

        Raises:
            Corrupt: a page is not what was appended.
        """
        before = NO_DIGEST
        number = 0
        while (data := self._pages.get(number)) is not None:
            yield from (entries.decode(entry) for entry in _read(data, number, before).entries)
            before, number = hashlib.sha256(data).digest(), number + 1

    # -- what an operator does ------------------------------------------------------------

    def deposit(self, account: str, amount: int, reference: str) -> Deposit:
        """Money came in. With a reference that was used, what was done then is answered.

        Raises:
            InvalidValue: less than 1, no reference, or one that was used for something else.
        """
        wanted = Deposit(account=account, amount=amount, reference=reference)
        done = self._once(wanted, "deposit")
        return done if isinstance(done, Deposit) else wanted

    def transfer(self, source: str, target: str, amount: int, reference: str) -> Transfer:
        """Move money from one account to another; once for a reference, as ``deposit``.

        Raises:
            BalanceEmpty: the source has less than that.
            InvalidValue: as for ``deposit``.
        """
        wanted = Transfer(source=source, target=target, amount=amount, reference=reference)
        done = self._once(wanted, "transfer")
        return done if isinstance(done, Transfer) else wanted

    def _once(self, wanted: Deposit | Transfer, kind: str) -> Entry:
        """Append an entry, unless its reference says that it was."""
        before: list[Entry] = []

        def plan(books: Books) -> list[Entry]:
            done = books.references.get((kind, wanted.reference))
            if done is None:
                return [wanted]
            if _numbered(done, 0, 0) != wanted:
                raise InvalidValue(argument="reference", reason="used for something else")
            before.append(done)
            return []

        made = self.commit(plan)
        return (made or before)[0]

    def rule(self, account: str, threshold: int, amount: int, *, per_day: int, parent: str) -> Rule:
        """Below ``threshold``, draw ``amount`` from ``parent``, at most ``per_day`` times a day."""
        wanted = Rule(
            account=account, threshold=threshold, amount=amount, per_day=per_day, parent=parent
        )
        made = self.commit(lambda _: [wanted])[0]  # with its number and time
        return made if isinstance(made, Rule) else wanted

    def price(self, account: str, tariff: str, version: int, terms: Terms) -> None:
        """An account is charged by these terms from now on."""
        wanted = Priced(account=account, tariff=tariff, version=version, terms=terms)
        self.commit(lambda _: [wanted])

    def top_up(self) -> list[TopUp]:
        """What rules ask for now is drawn; what was."""
        return [entry for entry in self.commit(self._drawn) if isinstance(entry, TopUp)]

    def _drawn(self, books: Books) -> list[Entry]:
        trial = books.fork()
        now = max(self.now_ns(), books.time_ns)
        drawn: list[Entry] = []
        while len(drawn) < TOP_UPS:
            due = next(trial.due(now), None)
            if due is None:
                break
            source, target, amount = due
            entry = TopUp(source=source, target=target, amount=amount)
            trial.apply(_numbered(entry, trial.number + 1, now))
            drawn.append(entry)
        return drawn

    # -- floats of buckets ------------------------------------------------------------------

    def fund(self, account: str, bucket: str, amount: int) -> Fund:
        """Begin a transfer to a bucket: the bucket is told of it until it has it.

        Args:
            account: who pays.
            bucket: its id.
            amount: 10^-18 USD.

        Raises:
            BalanceEmpty: the account has less than that.
        """

        def plan(books: Books) -> list[Entry]:
            number = books.lane(account, bucket).sent + 1
            return [Fund(account=account, bucket=bucket, transfer=number, amount=amount)]

        made = self.commit(plan)[0]
        if not isinstance(made, Fund):
            raise Corrupt(what="a page of another kind")
        return made

    def pending(self, account: str, bucket: str) -> tuple[Pending, ...]:
        """The transfers that a bucket is not known to have: number and amount of each."""
        return self.books().lane(account, bucket).pending

    def report(self, told: Sequence[Report]) -> list[Entry]:
        """Take what buckets say, all of it in one commit; what was taken before is passed over.

        Raises:
            InvalidValue: a report that does not follow from those before, or does not add up.
            BalanceEmpty: more was charged than the bucket was given.
        """

        def plan(books: Books) -> list[Entry]:
            return [entry for one in told for entry in _reported(books, one)]

        return self.commit(plan)

    def void(self, account: str, bucket: str, received: int) -> None:
        """A bucket is gone and had the transfers up to ``received``: the others are taken back."""

        def plan(books: Books) -> list[Entry]:
            amount = books.lane(account, bucket).lost(received)
            if not amount:
                return []
            return [Void(account=account, bucket=bucket, transfer=received, amount=amount)]

        self.commit(plan)

    # -- pages ----------------------------------------------------------------------------

    def commit(self, plan: Plan) -> list[Entry]:
        """Append what a plan makes of the books as they are; nothing where it makes nothing.

        Raises:
            BalanceEmpty, InvalidValue: an entry is refused; nothing was appended.
            Busy: others appended each time.
        """
        with self._lock:
            for _ in range(ATTEMPTS):
                self._catch_up()
                made = self._tried(plan(self._books))
                if not made:
                    return []
                written = tuple(entries.encode(entry) for entry in made)
                page = _Page(FORMAT, self._next, self._digest, written)
                try:
                    self._pages.put(self._next, msgspec.msgpack.encode(page))
                except Exists:
                    continue
                self._catch_up()
                self._keep()
                return made
        raise Busy(reason="others write the books")

    def _tried(self, planned: Sequence[Entry]) -> list[Entry]:
        """The entries with their numbers, once they were all accepted by a fork of the books."""
        trial = self._books.fork()
        now = max(self.now_ns(), trial.time_ns)
        made = []
        for entry in planned:
            numbered = _numbered(entry, trial.number + 1, now)
            trial.apply(numbered)
            made.append(numbered)
        return made

    def _open(self) -> None:
        """Begin with what was kept, if it can be read and the pages go on from it."""
        self._is_opened = True
        found = self._pages.kept()
        kept = keeping.decode(found, self._books.store) if found is not None else None
        if kept is None or not self._goes_on(kept):
            return
        self._books, self._next, self._digest = kept
        self._kept = kept.pages

    def _goes_on(self, kept: keeping.Kept) -> bool:
        last = self._pages.get(kept.pages - 1)
        return last is not None and hashlib.sha256(last).digest() == kept.digest

    def _keep(self) -> None:
        """Keep what the pages came to, from time to time."""
        if self._next - self._kept >= KEEP_PAGES:
            self._kept = self._next
            self._pages.keep(keeping.encode(keeping.Kept(self._books, self._next, self._digest)))

    def _catch_up(self) -> None:
        if not self._is_opened:
            self._open()
        while (data := self._pages.get(self._next)) is not None:
            page = _read(data, self._next, self._digest)
            for entry in page.entries:
                self._take(entries.decode(entry))
            self._digest = hashlib.sha256(data).digest()
            self._next += 1

    def _take(self, entry: Entry) -> None:
        try:
            self._books.apply(entry)
        except (BalanceEmpty, InvalidValue):
            raise Corrupt(what="an entry of the books that does not follow") from None


def _numbered(entry: Entry, number: int, now_ns: int) -> Entry:
    return msgspec.structs.replace(entry, number=number, time_ns=now_ns)


def _read(data: bytes, number: int, before: bytes) -> _Page:
    try:
        page = msgspec.msgpack.decode(data, type=_Page)
    except msgspec.DecodeError:
        raise Corrupt(what="a page of the books that cannot be read", page=number) from None
    if page.format > FORMAT:
        raise FormatTooNew(page=number, version=page.format)
    if (page.number, page.before) != (number, before):
        raise Corrupt(what="a page of the books out of its chain", page=number)
    return page


def _reported(books: Books, told: Report) -> Iterator[Entry]:
    """The entries that a report adds."""
    account, bucket = told.account, told.bucket
    lane = books.lane(account, bucket)
    if any(one[0] <= told.received for one in lane.pending):
        arrived = lane.settled(told.received)
        yield Received(account=account, bucket=bucket, transfer=told.received, amount=arrived)
    for number, amount in sorted(told.returned):
        if number > lane.returned:
            yield Returned(account=account, bucket=bucket, transfer=number, amount=amount)
    if told.stop > lane.absorbed and told.lines:
        yield Charged(
            account=account,
            bucket=bucket,
            start=told.start,
            stop=told.stop,
            amount=total(told.lines),
            lines=told.lines,
        )


__all__ = ["RESERVE", "Ledger", "Pages", "Report"]
