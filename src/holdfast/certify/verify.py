"""``holdfast.verify`` and ``verify_list``: check an answer with a public key and no store.

    proof   [1, [hand-over, ...], signed root, tree]        CBOR, the last two as byte strings
    tree    namespace id / start of a part / "keys" / key -> leaf
                                           / "part" -> version (8 bytes), bucket id (8 bytes)

A namespace's keys lie in parts, one for each bucket that holds some; a part reaches from its
label to the next one, and the first begins at the empty label. So the part that must hold a
key is the one with the largest label that is not above it, and the tree proves that too. A key
is absent where its part's neighbours of it are in sight, where its namespace is absent, and
where its leaf expires at or before the time of the root.

Depth and bytes are bounded before anything is hashed. docs/PROTOCOL.md section 6 is normative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.certify import cbor, leaf, parts, roots, tree
from holdfast.certify.parts import Parts
from holdfast.certify.roots import SignedRoot
from holdfast.certify.tree import Labelled, Leaf, Miss, Node
from holdfast.clock import Clock, SystemClock
from holdfast.errors import InvalidKey, InvalidNamespace, InvalidValue, ProofInvalid
from holdfast.limits import SECOND_NS

VERSION: Final = 1
PROOF_BYTES: Final = 1 << 20
LIST_BYTES: Final = 1 << 23  # some 80,000 keys; nodes in memory take up to 45 times as much
KEYS: Final = b"keys"
PART: Final = b"part"
PART_BYTES: Final = 16
CLOCKS_APART_NS: Final = 60_000_000_000


@dataclass(frozen=True)
class Verified:
    """What a proof convinces of.

    ``size`` to ``content_type`` are those of the object, None where the proof is of absence;
    ``revision`` and ``time_ns`` (nanoseconds since 1970) are those of the signed root, as are
    ``store`` (32 hex digits) and ``incarnation``; ``bucket`` is the one that must hold the
    key, None where its namespace holds nothing.
    """

    size: int | None
    version: int | None
    modified_ns: int | None
    expires_ns: int | None
    content_type: str | None
    revision: int
    time_ns: int
    incarnation: int
    store: str
    bucket: str | None


def verify(
    namespace: str | bytes,
    key: str,
    value: bytes | None,
    proof: bytes,
    *,
    public_key: object,
    max_age_s: float | None = None,
    min_revision: int | None = None,
    clock: Clock | None = None,
) -> Verified:
    """Hold that a store has this value under this key, or that it has none.

    Args:
        namespace: its name, or its 32-byte id.
        key: the key.
        value: the whole value; None to hold that there is no object.
        proof: the proof, as ``ns.prove`` and the server give it.
        public_key: the store's key: PEM, DER, 32 raw bytes (Ed25519) or a key object.
        max_age_s: refuse a root that was signed longer ago, or over 60 s in the future.
        min_revision: refuse a root of an earlier revision: the newest that the caller saw.
        clock: what ``max_age_s`` is measured with; the machine's own by default.

    Raises:
        ProofInvalid: ``reason`` says what does not hold. Nothing that the proof says may be
            believed then; it proves neither presence nor absence.
        InvalidValue, InvalidKey, InvalidNamespace: an argument is none; ``public_key`` is no key.
    """
    if value is not None and not isinstance(value, bytes | bytearray | memoryview):
        raise InvalidValue(argument="value", reason="not bytes")
    opened = _Opened(proof, public_key, PROOF_BYTES)
    opened.check_fresh(max_age_s, min_revision, clock or SystemClock())
    attributes, bucket = opened.object(namespace, key)
    if (attributes is None) != (value is None):
        raise ProofInvalid(reason="present" if value is None else "absent")
    if attributes is not None and value is not None and not _names(attributes, value):
        raise ProofInvalid(reason="value")
    return _verified(attributes, opened.root, bucket)


def verify_parts(
    namespace: str | bytes,
    key: str,
    held: Parts | None,
    proof: bytes,
    *,
    public_key: object,
    max_age_s: float | None = None,
    min_revision: int | None = None,
    clock: Clock | None = None,
) -> Verified:
    """What a proof says of a key, and that parts of its value are what they should be.

    Args as ``verify``'s; ``held`` are parts of the value, None to learn of the object alone.

    Raises:
        ProofInvalid: as ``verify``; "absent" where there are parts and no object.
    """
    opened = _Opened(proof, public_key, PROOF_BYTES)
    opened.check_fresh(max_age_s, min_revision, clock or SystemClock())
    attributes, bucket = opened.object(namespace, key)
    if held is not None:
        if attributes is None:
            raise ProofInvalid(reason="absent")
        parts.check(held, attributes.size, attributes.digest)
    return _verified(attributes, opened.root, bucket)


def verify_list(
    namespace: str | bytes,
    prefix: str,
    proof: bytes,
    *,
    public_key: object,
    max_age_s: float | None = None,
    min_revision: int | None = None,
    clock: Clock | None = None,
    after: str | None = None,
    until: str | None = None,
) -> dict[str, Verified]:
    """Hold that these are all the objects of a namespace below a prefix; arguments as above.

    A page is held to ``after``, the key that it begins behind, and to ``until``, its last one.

    Returns:
        What the proof says of each key, in byte order of the keys; nothing may be missing.
    """
    low = b"" if prefix == "" else _key(prefix)
    high = end_of(low) if until is None else _key(until) + b"\x00"
    if after is not None:
        low = _at_most(max(low, _text(after) + b"\x00"), high)
    opened = _Opened(proof, public_key, LIST_BYTES)
    opened.check_fresh(max_age_s, min_revision, clock or SystemClock())
    bucket, found = opened.objects(namespace, low, high)
    told = [(label, leaf.decode(content)) for label, content in found]
    try:
        return {
            label.decode(): _verified(attributes, opened.root, bucket)
            for label, attributes in told
            if _lives(attributes, opened.root)
        }
    except UnicodeDecodeError:
        raise ProofInvalid(reason="leaf") from None


def encode_proof(signed_root: bytes, handovers: list[bytes], pruned: Node) -> bytes:
    """The proof as bytes."""
    return cbor.encode([VERSION, handovers, signed_root, tree.encode(pruned)])


def encode_part(version: int, bucket: str) -> bytes:
    """What a tree says of a part: since which revision ranges are so; the bucket, 16 hex digits."""
    return version.to_bytes(8, "big") + bytes.fromhex(bucket)


def end_of(prefix: bytes) -> bytes | None:
    """The first key above all that begin with a prefix; None where there is no such key.

    UTF-8 has no byte 255, so the last one can be raised.
    """
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else None


def signed_root_of(proof: bytes) -> bytes:
    """The signed root in a proof that was verified."""
    match cbor.decode(proof, bytes_most=LIST_BYTES):
        case [_, _, bytes(signed), _]:
            return signed
    raise ProofInvalid(reason="structure")


def said_of(namespace: str, key: str, proof: bytes) -> leaf.Attributes:
    """What a proof of an object says, its signature not looked at: for whoever made it.

    Raises:
        ProofInvalid: it says nothing of this object.
    """
    match cbor.decode(proof, bytes_most=PROOF_BYTES):
        case [_, _, bytes(signed), bytes(encoded)]:
            node = tree.decode(encoded, bytes_most=PROOF_BYTES)
            low, store = _key(key), roots.decode(signed).store
        case _:
            raise ProofInvalid(reason="structure")
    space = _subtree(node, _identify(store, namespace))
    ((_, _, part),) = tiles(space, low, low + b"\x00")
    return leaf.decode(_content(_subtree(_subtree(part, KEYS), low)))


class _Opened:
    """A proof whose signature holds and whose tree is the one that was signed."""

    def __init__(self, proof: bytes, public_key: object, bytes_most: int) -> None:
        match cbor.decode(proof, bytes_most=bytes_most):
            case [int(version), [*handovers], bytes(signed), bytes(encoded)]:
                chain = [message for message in handovers if isinstance(message, bytes)]
            case _:
                raise ProofInvalid(reason="structure")
        if version != VERSION or version is True or len(chain) != len(handovers):
            raise ProofInvalid(reason="structure")
        self.root: SignedRoot = roots.verify(signed, public_key, chain)
        self._tree = tree.decode(encoded, bytes_most=bytes_most)
        if self._tree.digest != self.root.root:
            raise ProofInvalid(reason="root")

    def check_fresh(self, max_age_s: float | None, min_revision: int | None, clock: Clock) -> None:
        if not (min_revision is None or isinstance(min_revision, int)):
            raise InvalidValue(argument="min_revision", reason="not an integer")
        if not (max_age_s is None or isinstance(max_age_s, int | float)):
            raise InvalidValue(argument="max_age_s", reason="not a number")
        if min_revision is not None and self.root.revision < min_revision:
            raise ProofInvalid(reason="revision")
        if max_age_s is None:
            return
        age_ns = clock.wall_ns() - self.root.time_ns
        if not -CLOCKS_APART_NS <= age_ns <= max_age_s * SECOND_NS:
            raise ProofInvalid(reason="age")

    def object(self, namespace: str | bytes, key: str) -> tuple[leaf.Attributes | None, str | None]:
        """What a key's leaf says, None where there is no object; and the key's bucket."""
        low = _key(key)
        bucket, found = self.objects(namespace, low, low + b"\x00")
        attributes = leaf.decode(found[0][1]) if found else None
        if attributes is not None and not _lives(attributes, self.root):
            attributes = None
        return attributes, bucket

    def objects(
        self, namespace: str | bytes, low: bytes, high: bytes | None
    ) -> tuple[str | None, list[tuple[bytes, bytes]]]:
        """Every key from ``low`` to below ``high`` with its leaf; and the first one's bucket."""
        found = tree.find(self._tree, _identify(self.root.store, namespace))
        if found is Miss.ABSENT:
            return None, []
        if isinstance(found, Miss):
            raise ProofInvalid(reason=found.value)
        objects: list[tuple[bytes, bytes]] = []
        tiled = tiles(found, low, high)
        for start, stop, part in tiled:
            keys = _subtree(part, KEYS)
            first, last = max(low, start), _least(high, stop)
            objects += [(one.label, _content(one.subtree)) for one in span(keys, first, last)]
        return _bucket(tiled[0][2]), objects


def tiles(node: Node, low: bytes, high: bytes | None) -> list[tuple[bytes, bytes | None, Node]]:
    """The parts that reach into a range: start, stop (None: no next) and what is below.

    Raises:
        ProofInvalid: ``reason="unknown"`` where something pruned may be one of them.
    """
    found: list[tuple[bytes, bytes | None, Node]] = []
    before: Labelled | None = None
    sure = False
    for one in [*tree.forest(node), None]:
        if one is not None and not isinstance(one, Labelled):
            sure = False
            continue
        stop = None if one is None else one.label
        if stop is None or stop > low:
            if before is None or not sure:
                raise ProofInvalid(reason="unknown")
            found.append((before.label, stop, before.subtree))
        if stop is None or (high is not None and stop >= high):
            break
        before, sure = one, True
    return found


def span(node: Node, low: bytes, high: bytes | None) -> list[Labelled]:
    """Every label of one level from ``low`` to below ``high``.

    Raises:
        ProofInvalid: ``reason="unknown"`` where something pruned may be one of them.
    """
    found: list[Labelled] = []
    sure = True
    for one in tree.forest(node):
        if not isinstance(one, Labelled):
            sure = False
            continue
        if one.label > low and not sure:
            raise ProofInvalid(reason="unknown")
        if high is not None and one.label >= high:
            return found
        if one.label >= low:
            found.append(one)
        if high is not None and one.label + b"\x00" >= high:
            return found  # there is no label between this one and the end
        sure = True
    if not sure:
        raise ProofInvalid(reason="unknown")
    return found


def _subtree(node: Node, label: bytes) -> Node:
    found = tree.find(node, label)
    if isinstance(found, Miss):
        raise ProofInvalid(reason=found.value)
    return found


def _content(node: Node) -> bytes:
    if not isinstance(node, Leaf):
        raise ProofInvalid(reason="unknown")
    return node.content


def _bucket(part: Node) -> str:
    content = _content(_subtree(part, PART))
    if len(content) != PART_BYTES:
        raise ProofInvalid(reason="leaf")
    return content[8:].hex()


def _at_most(low: bytes, high: bytes | None) -> bytes:
    return low if high is None else min(low, high)


def _least(one: bytes | None, other: bytes | None) -> bytes | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _identify(store: bytes, namespace: str | bytes) -> bytes:
    try:
        identity = leaf.namespace_id(store, namespace)
    except (AttributeError, UnicodeEncodeError):
        identity = b""
    if len(identity) != tree.HASH_BYTES:
        raise InvalidNamespace(namespace=namespace)
    return identity


def _key(key: str) -> bytes:
    encoded = _text(key)
    if not encoded:
        raise InvalidKey(key=key)
    return encoded


def _text(key: str) -> bytes:
    """A key, or nothing, which comes before all keys."""
    try:
        return key.encode()
    except (AttributeError, UnicodeEncodeError):
        raise InvalidKey(key=key) from None


def _names(attributes: leaf.Attributes, value: bytes) -> bool:
    return len(value) == attributes.size and leaf.value_digest(value) == attributes.digest


def _lives(attributes: leaf.Attributes, root: SignedRoot) -> bool:
    return attributes.expires_ns is None or attributes.expires_ns > root.time_ns


def _verified(attributes: leaf.Attributes | None, root: SignedRoot, bucket: str | None) -> Verified:
    said = attributes
    return Verified(
        size=said.size if said else None,
        version=said.version if said else None,
        modified_ns=said.modified_ns if said else None,
        expires_ns=said.expires_ns if said else None,
        content_type=said.content_type if said else None,
        revision=root.revision,
        time_ns=root.time_ns,
        incarnation=root.incarnation,
        store=root.store.hex(),
        bucket=bucket,
    )
