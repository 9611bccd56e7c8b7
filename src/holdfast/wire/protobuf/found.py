"""What a search found and what is proved, as messages of ``holdfast.v1``, and back.

What is asked of either is told in the fields of HTTP's query, so both doors read it by one rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from holdfast.errors import InvalidValue
from holdfast.limits import SECOND_NS
from holdfast.values import Hit, Hits
from holdfast.wire.problems import unreadable
from holdfast.wire.proofs import Answered
from holdfast.wire.protobuf.words import CLASSES, Said, message_of, value_of

CHUNK_BYTES: Final = 1 << 20
WORDS: Final = {True: "true", False: "false"}
Path, Proved, ProofChunk = (CLASSES[name] for name in ("Path", "Proved", "ProofChunk"))


# -- searching -----------------------------------------------------------------------------------


def search_fields(message: Said) -> dict[str, str]:
    """What a search asks, as the fields of a query."""
    told = {"query": message.query, "highlight": WORDS[message.highlight]}
    told |= {name: getattr(message, name) for name in ("rank", "prefix") if getattr(message, name)}
    told |= _present(message, ("limit", "after"))
    if message.HasField("fresh"):
        told["fresh"] = WORDS[message.fresh]
    if message.HasField("max_wait_ns"):
        told["max_wait"] = str(message.max_wait_ns / SECOND_NS)
    if any("," in tag for tag in message.facets):
        raise InvalidValue(argument="facets", reason="a comma in a name")
    if message.facets:
        told["facets"] = ",".join(message.facets)
    return told


def search_message(namespace: str, fields: Mapping[str, str]) -> Said:
    """The message that asks what the fields of a query ask."""
    given: dict[str, Any] = {
        n: fields[n] for n in ("query", "after", "rank", "prefix") if n in fields
    }
    given |= {name: fields[name] == "true" for name in ("highlight", "fresh") if name in fields}
    if "limit" in fields:
        given["limit"] = int(fields["limit"])
    if "max_wait" in fields:
        given["max_wait_ns"] = round(float(fields["max_wait"]) * SECOND_NS)
    facets = fields["facets"].split(",") if fields.get("facets") else ()
    return _made("SearchRequest", namespace=namespace, facets=facets, **given)


def hits_message(hits: Hits) -> Said:
    """What a search found."""
    count = CLASSES["Count"]
    facets = [
        CLASSES["Facet"](tag=tag, counts=[count(value=v, count=n) for v, n in counts.items()])
        for tag, counts in hits.facets.items()
    ]
    found = map(message_of, hits.hits)
    return CLASSES["Hits"](
        total=hits.total, hits=found, next=hits.next, behind=hits.behind, facets=facets
    )


def hits_of(message: Said) -> Hits:
    """What a search found, as it was told."""
    return Hits(
        message.total,
        tuple([value_of(hit, Hit) for hit in message.hits]),
        message.next if message.HasField("next") else None,
        message.behind,
        {facet.tag: {one.value: one.count for one in facet.counts} for facet in message.facets},
    )


# -- proving ---------------------------------------------------------------------------------------


def proof_fields(message: Said) -> dict[str, str]:
    """What is to be proved, as the fields of a query; its range is told elsewhere."""
    told = {"proof": "sealed" if message.sealed else "1"} | _present(message, ("since",))
    if message.HasField("key"):
        return told | {"value": WORDS[not message.without_value]}
    return told | {"prefix": message.prefix} | _present(message, ("after", "limit"))


def proof_message(
    namespace: str, key: str | None, fields: Mapping[str, str], span: tuple[int, int] | None
) -> Said:
    """The message that asks for a proof; ``span`` are the bytes that a range asks for."""
    given: dict[str, Any] = {name: fields[name] for name in ("prefix", "after") if name in fields}
    given |= {name: int(fields[name]) for name in ("since", "limit") if name in fields}
    if key is not None:
        given["key"] = key
    if span is not None:
        given["start"], given["stop"] = span
    given["sealed"] = fields["proof"] == "sealed"
    given["without_value"] = fields.get("value") == "false"
    return _made("ProofRequest", namespace=namespace, **given)


def proof_chunks(answered: Answered) -> Iterator[Said]:
    """An answer with its proof, in messages of which none is large."""
    value = answered.value
    yield ProofChunk(
        proved=Proved(
            revision=answered.revision,
            time_ns=answered.time_ns,
            has_value=value is not None,
            first=answered.first,
            paths=[Path(hashes=path) for path in answered.paths],
            next=answered.next,
            consistency=answered.consistency,
            inclusion=answered.inclusion,
        )
    )
    for name, data in (("value", value or b""), ("proof", answered.proof)):
        for at in range(0, len(data), CHUNK_BYTES):
            yield ProofChunk(**{name: data[at : at + CHUNK_BYTES]})


def answered_of(chunks: Iterable[Said]) -> Answered:
    """An answer with its proof, as it was told; InvalidValue where it does not begin as one."""
    first, *others = chunks
    if first.WhichOneof("chunk") != "proved":
        raise unreadable("the first chunk does not say what is proved")
    told = first.proved
    return Answered(
        b"".join([chunk.value for chunk in others]) if told.has_value else None,
        b"".join([chunk.proof for chunk in others]),
        told.revision,
        told.time_ns,
        told.first,
        tuple([tuple(path.hashes) for path in told.paths]),
        told.next if told.HasField("next") else None,
        tuple(told.consistency),
        tuple(told.inclusion),
    )


def _present(message: Said, names: Iterable[str]) -> dict[str, str]:
    return {name: str(getattr(message, name)) for name in names if message.HasField(name)}


def _made(name: str, **given: object) -> Said:
    try:
        return CLASSES[name](**given)
    except (ValueError, TypeError):
        raise InvalidValue(argument="arguments", reason="out of range") from None
