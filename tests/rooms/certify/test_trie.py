"""The trie against a naive one: the same labels make the same tree, however they came."""

from __future__ import annotations

from bisect import bisect_left
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.certify import change, tree, trie, verify, witness
from holdfast.certify.tree import Miss, Node, Pruned
from holdfast.certify.trie import Row, Trie

LABELS = st.binary(min_size=0, max_size=5) | st.text("ab", max_size=12).map(str.encode)


def bits(label: bytes) -> str:
    """Nine bits a byte: one that says that the label goes on."""
    return "".join(f"1{byte:08b}" for byte in label) + "0"


def naive(rows: list[Row]) -> bytes:
    """Halve by the first bit that differs, from the top."""
    spelled = [(bits(label), tree.labelled_digest(label, digest)) for label, digest in rows]
    return halved(spelled) if spelled else tree.EMPTY_DIGEST


def halved(spelled: list[tuple[str, bytes]]) -> bytes:
    if len(spelled) == 1:
        return spelled[0][1]
    pairs = zip(spelled[0][0], spelled[-1][0], strict=False)
    at = next(at for at, (one, other) in enumerate(pairs) if one != other)
    middle = bisect_left(spelled, "1", key=lambda row: row[0][at])
    return tree.fork_digest(halved(spelled[:middle]), halved(spelled[middle:]))


def below(_label: bytes, digest: bytes) -> Node:
    return Pruned(digest)


@given(st.sets(LABELS, min_size=2, max_size=2))
def test_labels_part_at_their_first_differing_bit(labels: set[bytes]) -> None:
    one, other = sorted(labels)
    at = trie.parting(one, other)
    assert bits(one)[:at] == bits(other)[:at]
    assert bits(one)[at] < bits(other)[at]


@given(st.sets(LABELS, max_size=40))
def test_many_neighbours_part_where_two_do(labels: set[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trie, "AT_ONCE", 3)
        made = trie.build(dict.fromkeys(labels, b"d" * 32))
    found = list(made.columns.bits) if isinstance(made, trie.Page) else []
    assert found == list(map(trie.parting, sorted(labels), sorted(labels)[1:]))


class Trying(RuleBasedStateMachine):
    """Changes, cuts and joins, beside a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[bytes, bytes] = {}
        self.trie: Trie | None = None
        self.patched = pytest.MonkeyPatch()

    @initialize(few=st.sampled_from([0, change.FEW, 10_000]))
    def begin(self, few: int) -> None:
        """Whether pages are always made anew, or where many changes meet them, or never."""
        self.patched.setattr(change, "FEW", few)
        self.patched.setattr(change, "BUILT", 100)

    def teardown(self) -> None:
        self.patched.undo()

    @rule(labels=st.dictionaries(LABELS, st.booleans(), max_size=60), mark=st.binary(max_size=2))
    def change(self, labels: dict[bytes, bool], mark: bytes) -> None:
        changes = {
            label: sha256(mark + label).digest() if stays else None
            for label, stays in labels.items()
        }
        self.trie = change.apply(self.trie, changes)
        for label, digest in changes.items():
            self.rows.pop(label, None)
            if digest is not None:
                self.rows[label] = digest

    @rule(count=st.integers(1, 400), start=st.integers(0, 900), stays=st.booleans())
    def change_many(self, count: int, start: int, stays: bool) -> None:  # noqa: FBT001 - drawn
        self.change({b"%05d" % number: stays for number in range(start, start + count)}, b"")

    @rule(start=LABELS, stop=LABELS | st.none())
    def cut(self, start: bytes, stop: bytes | None) -> None:
        cut = trie.cut(self.trie, start, stop)
        rows = [row for row in sorted(self.rows.items()) if within(row[0], start, stop)]
        assert list(trie.rows_of(cut)) == rows
        assert trie.digest_of(cut) == naive(rows)

    @rule(border=LABELS)
    def cut_and_join(self, border: bytes) -> None:
        halves = (trie.cut(self.trie, b"", border), trie.cut(self.trie, border, None))
        assert trie.digest_of(trie.join(halves)) == trie.digest_of(self.trie)

    @rule(low=LABELS, high=LABELS | st.none())
    def show(self, low: bytes, high: bytes | None) -> None:
        if high is not None and high <= low:
            return
        shown = witness.witness(self.trie, low, high, below)
        assert shown.digest == trie.digest_of(self.trie)
        again = tree.decode(tree.encode(shown), bytes_most=10_000_000)
        labels = [row.label for row in verify.span(again, low, high)]
        assert labels == [label for label in sorted(self.rows) if within(label, low, high)]

    @rule(label=LABELS)
    def show_one(self, label: bytes) -> None:
        shown = witness.witness(self.trie, label, label + b"\x00", below)
        assert shown.digest == trie.digest_of(self.trie)
        found = tree.find(shown, label)
        if label in self.rows:
            assert isinstance(found, Pruned)
            assert found.digest == self.rows[label] == trie.get(self.trie, label)
        else:
            assert found is Miss.ABSENT
            assert trie.get(self.trie, label) is None

    @invariant()
    def same(self) -> None:
        rows = sorted(self.rows.items())
        assert list(trie.rows_of(self.trie)) == rows
        assert trie.digest_of(self.trie) == naive(rows)
        assert trie.digest_of(trie.build({**self.rows})) == trie.digest_of(self.trie)
        assert all(1 <= page.count <= trie.PAGE_LABELS for page in trie.pages(self.trie))


def within(label: bytes, low: bytes, high: bytes | None) -> bool:
    return low <= label and (high is None or label < high)


TestTrying = Trying.TestCase
TestTrying.settings = settings(max_examples=30, stateful_step_count=15)


def test_an_old_trie_stays_what_it_was() -> None:
    rows = [(b"%05d" % number, sha256(b"%d" % number).digest()) for number in range(1_000)]
    old = trie.build(dict(rows))
    digest = trie.digest_of(old)
    change.apply(old, {b"00500": None, b"00501": bytes(32)})
    assert (list(trie.rows_of(old)), trie.digest_of(old)) == (rows, digest)


def test_what_is_built_some_at_a_time_is_joined_as_it_is() -> None:
    rows = {sha256(b"%d" % number).digest()[:6]: bytes(32) for number in range(5_000)}
    whole = trie.build(dict(rows))
    made = change.apply(None, rows)
    ends = [(page.first, page.last) for page in trie.pages(made)]
    assert ends == [(page.first, page.last) for page in trie.pages(whole)]
    assert all(page.known is not None for page in trie.pages(made))  # none was made again
    assert trie.digest_of(made) == trie.digest_of(whole)


def test_changes_and_removals_among_many_are_put_in_order() -> None:
    rows = {b"%d" % number: sha256(b"%d" % number).digest() for number in range(7_000)}
    changes = {**rows, **dict.fromkeys(list(rows)[::7])}
    kept = {label: digest for label, digest in changes.items() if digest is not None}
    for before in (None, trie.build(dict(rows))):
        made = change.apply(before, changes)
        assert list(trie.rows_of(made)) == sorted(kept.items())
        assert trie.digest_of(made) == trie.digest_of(trie.build(dict(kept)))


def test_crafted_labels_make_deep_tries_and_no_harm() -> None:
    made: Trie | None = None
    labels = [b"a" * length for length in range(1, 1_025)]
    for start in range(64):
        made = change.apply(made, dict.fromkeys(labels[start::64], bytes(32)))
    shown = witness.witness(made, labels[-1], labels[-1] + b"\x00", below)
    assert shown.digest == trie.digest_of(made)
    again = tree.decode(tree.encode(shown), bytes_most=1 << 20)
    assert isinstance(tree.find(again, labels[-1]), Pruned)
