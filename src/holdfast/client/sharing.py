"""How a namespace is opened to others, without I/O: links, and what anyone may read."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.client.asks import Ask, Work
from holdfast.client.line import Line
from holdfast.client.reading import read
from holdfast.request import arguments
from holdfast.values import Right
from holdfast.wire.values import JSON, encode


class SharingCalls:
    """What can be asked about who else may read; a part of ``NamespaceCalls``.

    Args:
        line: the client's.
        root: the path of the namespace.
    """

    def __init__(self, line: Line, root: str) -> None:
        self._line = line
        self._root = root

    def share(
        self,
        key: str,
        *,
        ttl: float | str = "1h",
        rights: Sequence[Right] = ("read",),
        uses: int | None = None,
    ) -> Work[str]:
        """A link to one object, good for whoever has it, until it ends or is revoked."""
        arguments.compose(b"", key)
        arguments.duration_ns(ttl)
        told = {"key": key, "ttl": ttl, "rights": list(rights)}
        if uses is not None:
            told["uses"] = arguments.integer(uses, "uses")
        ask = Ask("POST", f"{self._root}/share", {"content-type": JSON}, encode(told))
        return read((yield from self._line.exchange(ask)), dict[str, str], ask)["url"]

    def published(self) -> Work[list[str]]:
        """The prefixes that anyone may read."""
        ask = Ask("GET", f"{self._root}/published", repeatable=True)
        return read((yield from self._line.exchange(ask)), dict[str, list[str]])["prefixes"]

    def publish(self, prefix: str = "") -> Work[None]:
        """Let anyone read what is below a prefix, without a credential."""
        arguments.text(prefix, "prefix")
        known = yield from self.published()
        if prefix not in known:
            yield from self._replace([*known, prefix])

    def unpublish(self, prefix: str = "") -> Work[None]:
        """No longer let anyone read below a prefix; passed over if it was not published."""
        known = yield from self.published()
        if prefix in known:
            yield from self._replace([one for one in known if one != prefix])

    def _replace(self, prefixes: list[str]) -> Work[None]:
        body = encode({"prefixes": prefixes})
        yield from self._line.exchange(
            Ask("PUT", f"{self._root}/published", {"content-type": JSON}, body)
        )
