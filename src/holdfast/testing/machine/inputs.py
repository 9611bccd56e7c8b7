"""What the rules draw from: few keys, so that they meet; sizes and times around every border."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from hypothesis import strategies as st

from holdfast.limits import SECOND_NS
from holdfast.testing.face import Coverage, NamespaceFace, Ttl

NAMESPACES: Final = ("acme", "acme.b")
FEW_KEYS: Final = (
    *("a", "a-b", "a/b", "a/b/c", "a/b/d", "a/c", "a0", "ab", "z", "\x00", "\u00e9", "\U0001f600"),
    *("k" * 1_000, f"{'k' * 1_000}1", f"{'k' * 1_000}2"),
)
PREFIXES: Final = ("", "a", "a/", "a/b", "a/b/", "k", "n", "n/", "n/01", "z", "\u00e9", "none")
SIZES: Final = (0, 1, 100, 1_000, 5_000, 20_000)
PAUSES_NS: Final = (1, SECOND_NS // 2, SECOND_NS - 1, SECOND_NS, 5 * SECOND_NS, 31 * SECOND_NS)
TTLS: Final[tuple[Ttl | None, ...]] = (None, None, 0.5, 1, 5, 30, "1m", "2h")
MODES: Final = ("auto", "copying", "compacting")

spaces: Final = st.sampled_from(NAMESPACES)
# Half of all rules meet on three keys, where what one leaves behind the next one finds.
hot: Final = st.sampled_from(["a", "a/b", "n/020"])
keys: Final = st.one_of(
    hot, hot, st.sampled_from(FEW_KEYS), st.integers(0, 40).map("n/{:03d}".format)
)
Key = str | int  # an int stands for one of the keys that hold something, see Twins.key_of
some: Final = st.one_of(st.integers(0, 99), st.integers(0, 99), keys)
lockable: Final = st.sampled_from(["a", "n/020"])
sizes: Final = st.sampled_from(SIZES)
ttls: Final = st.sampled_from(TTLS)
ids = st.lists(st.sampled_from(["x", "y", b"x", b"\x00"]), max_size=4) | st.just(["x"] * 50)

# What callers get wrong: both must refuse it, with the same error.
WRONG: Final[tuple[Callable[[NamespaceFace], object], ...]] = (
    lambda ns: ns.put("", b""),
    lambda ns: ns.put("k" * 1_025, b""),
    lambda ns: ns.put("a\ud800", b""),
    lambda ns: ns.put("a", cast("bytes", "text")),
    lambda ns: ns.put("a", b"", ttl=0),
    lambda ns: ns.put("a", b"", ttl="1 fortnight"),
    lambda ns: ns.put("a", b"", ttl=1, permanent=True),
    lambda ns: ns.put("a", b"", ttl=1, keep_ttl=True),
    lambda ns: ns.put("a", b"", consumers=["x" * 17]),
    lambda ns: ns.put("a", b"", consumers=["x"] * 161),
    lambda ns: ns.append("a", cast("bytes", None)),
    lambda ns: ns.lock("a", ttl=-1),
    lambda ns: ns.unlock("a", ""),
    lambda ns: list(ns.list(limit=-1)),
    lambda ns: list(ns.list(by=cast("Coverage", "glob"))),
    lambda ns: ns.put_many([("a", b"1"), ("", b"2")]),
    lambda ns: ns.get_many(["a", ""]),
)
