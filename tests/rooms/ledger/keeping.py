"""Pages in memory, and charges to fill them with."""

from __future__ import annotations

from collections.abc import Callable

from holdfast import charges
from holdfast.charges import Back, Charge, Line, Tally, Terms
from holdfast.errors import Exists
from holdfast.ledger.ledger import Ledger

STORE = "00112233445566778899aabbccddeeff"
ENCLAVE = Terms(2, 17_637_500_000, 3_527_500_000, 1_763_750_000, 8_796, 1, 90_000_000, 1, 1, 5)
DISK = Terms(3, 9, 5, 7, 8_796, 1_000, 11, 7, 1, 3)
TERMS = {2: ENCLAVE, 3: DISK}
DOLLAR = 10**18


class PagesInMemory:
    """What ``put`` did stays; ``before`` is called before each."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self.pages: list[bytes] = []
        self.before = before
        self.books: bytes | None = None

    def kept(self) -> bytes | None:
        return self.books

    def keep(self, books: bytes) -> None:
        self.books = books

    def get(self, number: int) -> bytes | None:
        return self.pages[number] if number < len(self.pages) else None

    def put(self, number: int, page: bytes) -> None:
        self.before()
        if number != len(self.pages):
            raise Exists(key=str(number))
        self.pages.append(page)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_000

    def __call__(self) -> int:
        return self.now


def a_ledger() -> tuple[Ledger, PagesInMemory, Clock]:
    pages, clock = PagesInMemory(), Clock()
    return Ledger(pages, STORE, clock), pages, clock


def lines_of(*made: Charge) -> tuple[Line, ...]:
    tally = Tally(TERMS)
    for one in made:
        tally.add(one)
    return tally.lines()


def a_put(terms: Terms = ENCLAVE, *, size: int = 100, seconds: int = 60) -> Charge:
    return charges.charge(terms, "C", size_bytes=size, seconds=seconds)


def a_delete(terms: Terms = ENCLAVE, *, size: int = 100, rest: int = 30) -> Charge:
    return charges.charge(terms, "C", back=Back(terms.number, size, rest, early=True))
