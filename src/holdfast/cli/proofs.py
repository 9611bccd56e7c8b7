"""Commands on proofs: key, prove, verify, watch. ``verify`` needs no store."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from holdfast.certify import roots, watch
from holdfast.certify.stored import is_stored, verify_stored
from holdfast.certify.verify import Verified
from holdfast.certify.verify import verify as verify_proof
from holdfast.cli.exits import ExitCode
from holdfast.cli.files import local_file
from holdfast.cli.opening import holds_store, opened
from holdfast.cli.options import (
    AsJson,
    KeyName,
    NamespaceName,
    StorePath,
    output_of,
    settings_of,
)
from holdfast.cli.output import Output, counted, facts_table, shown, time_text
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.engines.disk import OsDisk
from holdfast.errors import InvalidValue
from holdfast.identity.keys import signing_key
from holdfast.store import Store

DECLARED: Final[watch.Finding] = "restore"
Document = Annotated[
    Path | None,
    typer.Option("--attestation", metavar="FILE", help="An enclave's document, of any age."),
]
Roots = Annotated[
    list[str] | None,
    typer.Option(
        "--attestation-root", metavar="FILE", help="A root in place of Amazon's; repeatable."
    ),
]
Images = Annotated[
    list[str] | None,
    typer.Option("--attestation-image", metavar="ID", help="An image to trust; repeatable."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (key, prove, verify, watched):
        name = "watch" if command is watched else command.__name__
        app.command(name)(command)


def key(
    context: typer.Context,
    *,
    path: StorePath,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Replace it first; tokens and links it signed end.")
    ] = False,
    attestation: Document = None,
    attestation_root: Roots = None,
    attestation_image: Images = None,
    as_json: AsJson = False,
) -> None:
    """Print the public key that the store's proofs are verified with; made if there is none.

    With --attestation, hold that a document of an enclave binds it.
    """
    output = output_of(context, as_json=as_json)
    if not holds_store(path):
        message = f"there is no store at {str(path)!r}"
        raise typer.BadParameter(message, param_hint="PATH")
    if rotate:
        with opened(path, settings_of(context).store, output=output) as store:
            store.rotate_key()
    with local_file(path):
        found = signing_key(OsDisk(), str(path.absolute()), SystemEntropy())
    public = found.public_pem().decode()
    if attestation is not None:
        _attested_key(attestation, attestation_root, attestation_image, public)
    output.document({"id": found.id, "public_key": public}, public.rstrip())


def prove(
    context: typer.Context,
    *,
    path: StorePath,
    namespace: NamespaceName,
    name: KeyName,
    proof: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where the proof goes; - is standard output."
        ),
    ],
    receipt: Annotated[
        bool, typer.Option("--receipt", help="With a COSE receipt of its root (RFC 9942).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the proof that an object is there as it is, or that there is none."""
    output = output_of(context, as_json=as_json)
    with opened(path, settings_of(context).store, output=output) as store:
        proven = store.namespace(namespace).prove(name)
        made = store.certifier.with_receipt(proven) if receipt else proven.proof
    size = None if proven.value is None else len(proven.value)
    told = "no object" if size is None else counted(size, "byte")
    output.file(
        proof,
        made,
        {"key": name, "size": size, "revision": proven.revision, "time_ns": proven.time_ns},
        f"{shown(name)}: {told} at revision {proven.revision}",
    )


def verify(
    context: typer.Context,
    *,
    proof: Annotated[Path, typer.Argument(metavar="PROOF", help="The proof's file.")],
    namespace: NamespaceName,
    name: KeyName,
    value: Annotated[
        Path | None,
        typer.Argument(metavar="VALUE", help="The value's file; none: there is no object."),
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", metavar="FILE", help="The store's key, PEM.")
    ] = None,
    attestation: Document = None,
    attestation_root: Roots = None,
    attestation_image: Images = None,
    max_age: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Refuse what was signed before.")
    ] = None,
    min_revision: Annotated[
        int | None, typer.Option(metavar="N", help="Refuse an earlier revision.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a proof with the store's public key and nothing else; exit code 6 if it fails.

    With --attestation the key is the one that the document binds to an image that is named.
    """
    output = output_of(context, as_json=as_json)
    key_read = None if public_key is None else _read(public_key)
    if attestation is not None:
        key_read = _attested_key(attestation, attestation_root, attestation_image, key_read)
    if key_read is None:
        message = "say it, or --attestation with --attestation-image"
        raise typer.BadParameter(message, param_hint="--public-key")
    shown_file = _read(proof)
    said = (verify_stored if is_stored(shown_file) else verify_proof)(
        namespace,
        name,
        None if value is None else _read(value),
        shown_file,
        public_key=key_read,
        max_age_s=max_age,
        min_revision=min_revision,
    )
    output.document(said, facts_table(_facts(said).items()))


def _attested_key(
    document: Path, roots_named: list[str] | None, images: list[str] | None, key_read: object
) -> bytes:
    """The key that a document binds to one of the images."""
    from holdfast.identity.attestation import key_of, roots_of  # noqa: PLC0415 - 30 ms

    if not images:
        message = "which image is trusted? A document of any other proves nothing"
        raise typer.BadParameter(message, param_hint="--attestation-image")
    trusted = [root for named in roots_named or ["aws"] for root in roots_of(named)]
    bound = key_of(
        _read(document),
        now_ns=SystemClock().wall_ns(),
        public_key=key_read,
        roots=trusted,
        images=images,
    )
    return bound.public_key


def _facts(said: Verified) -> dict[str, str]:
    """What a proof convinces of, for people."""
    told = {"object": "none" if said.size is None else counted(said.size, "byte")}
    if said.modified_ns is not None:
        told |= {"version": str(said.version), "modified": time_text(said.modified_ns)}
    if said.expires_ns is not None:
        told["expires"] = time_text(said.expires_ns)
    if said.content_type is not None:
        told["content type"] = shown(said.content_type)
    return told | {"revision": str(said.revision), "signed": time_text(said.time_ns)}


def watched(
    context: typer.Context,
    *,
    path: StorePath,
    seen: Annotated[
        Path, typer.Argument(metavar="SEEN", help="What was seen; made at the first look.")
    ],
    public_key: Annotated[
        Path | None,
        typer.Option("--public-key", metavar="FILE", help="The key to trust; else the store's."),
    ] = None,
    other: Annotated[
        Path | None,
        typer.Option(
            "--compare", metavar="OTHER", help="Compare SEEN with what somebody else saw."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the store with what was seen of it before; exit code 6 if it went back or forked.

    With --compare hold two such files against each other; neither changes.
    """
    output = output_of(context, as_json=as_json)
    if other is not None:
        with opened(path, settings_of(context).store, output=output) as store:
            _compared(store, watch.decode(_read(seen)), watch.decode(_read(other)), output)
        return
    with local_file(seen):
        is_known = seen.exists()
    before = watch.decode(_read(seen)) if is_known else None
    with opened(path, settings_of(context).store, output=output) as store:
        trusted = store.public_key() if public_key is None else _read(public_key)
        now, found = _judged(store, before, trusted)
    if set(found) <= {DECLARED}:
        with local_file(seen):
            seen.write_bytes(now.encode())
    told = ", ".join(found) if found else "goes on from what was seen"
    output.document(
        {"findings": found, "revision": now.revision, "root": now.root},
        f"revision {now.revision}: {told if before is not None else 'seen for the first time'}",
    )
    if not set(found) <= {DECLARED}:
        raise typer.Exit(ExitCode.UNTRUSTED)


def _compared(store: Store, one: watch.Seen, another: watch.Seen, output: Output) -> None:
    """Tell what two memories of the store say against each other."""
    older, newer = sorted((one, another), key=lambda seen: (seen.incarnation, seen.revision))
    history = watch.History()
    with suppress(InvalidValue):  # the store does not hold both: that shows below
        history = store.certifier.history(older, newer)
    found = watch.compare(one, another, history)
    told = ", ".join(found) if found else "one goes on from the other"
    output.document(
        {"findings": found, "revisions": [older.revision, newer.revision]},
        f"revisions {older.revision} and {newer.revision}: {told}",
    )
    if not set(found) <= {DECLARED}:
        raise typer.Exit(ExitCode.UNTRUSTED)


def _judged(
    store: Store, before: watch.Seen | None, trusted: bytes
) -> tuple[watch.Seen, list[watch.Finding]]:
    """The store's newest root, and what is wrong with it in the eyes of whoever saw ``before``."""
    seal = store.certifier.seal()
    now = watch.seen_of(seal.message, roots.verify(seal.message, trusted, seal.handovers))
    history = watch.History()
    if before is not None:
        with suppress(InvalidValue):  # it does not hold what was seen: that shows below
            history = store.certifier.history(before, now)
    return now, watch.judge(before, now, history, wall_ns=SystemClock().wall_ns())


def _read(path: Path) -> bytes:
    with local_file(path):
        return path.read_bytes()
