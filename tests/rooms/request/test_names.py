"""Names of keys that look like where a key begins."""

from __future__ import annotations

import holdfast

NAMES = ["a", "a\0", "\0", "acme\0", "acme\0b", "b\0acme\0c", "\x01", "é\0acme\0", "zacme"]


def test_keys_are_listed_as_they_were_given() -> None:
    with holdfast.open(":memory:") as store:
        ns = store.namespace("acme")
        for count in range(1, len(NAMES) + 1):
            ns.put(NAMES[count - 1], b"")
            expected = sorted(NAMES[:count], key=str.encode)
            assert list(ns.list()) == expected
            assert list(ns.list(limit=2)) == expected[:2]
        assert list(ns.list("acme\0")) == ["acme\0", "acme\0b"]
