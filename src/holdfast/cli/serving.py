"""The command that serves a store over HTTP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from holdfast.cli.opening import keywords
from holdfast.cli.options import StorePath, settings_of
from holdfast.store import open_store

Mode = Literal["session", "bearer"]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(serve)


def serve(
    context: typer.Context,
    *,
    path: StorePath,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 lets the system choose.")] = 8080,
    unix_socket: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Listen on a Unix socket as well.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate and chain, PEM.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key, PEM.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve other machines without TLS all the same.")
    ] = False,
    attestation_mode: Annotated[
        Mode, typer.Option(help="Enclaves open sessions; or show a document each time.")
    ] = "session",
    attestation_root: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A root of enclaves in place of Amazon's; repeatable."),
    ] = None,
    attestation_image: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="An image that may come, any if none; repeatable."),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes; each holds a range of the buckets.")
    ] = 1,
) -> None:
    """Serve the store over HTTP until SIGTERM or Ctrl-C; a new store where there is none."""
    from holdfast.identity.enclaves import AttestationSettings  # noqa: PLC0415 - 50 ms
    from holdfast.identity.operator import NAME, admin_token  # noqa: PLC0415
    from holdfast.server import Settings  # noqa: PLC0415 - needs an extra
    from holdfast.server import serve as serve_store  # noqa: PLC0415
    from holdfast.server.supervisor import serve_shared  # noqa: PLC0415

    settings = Settings(
        host=host,
        port=port,
        unix_socket=str(unix_socket) if unix_socket is not None else None,
        tls_cert=str(tls_cert) if tls_cert is not None else None,
        tls_key=str(tls_key) if tls_key is not None else None,
        insecure=insecure,
        attestation=AttestationSettings(
            mode=attestation_mode,
            roots=tuple(attestation_root or ("aws",)),
            images=tuple(attestation_image) if attestation_image else None,
        ),
    )
    options = keywords(settings_of(context).store)
    with open_store(str(path), in_place=False, **options) as store:
        admin_token(store.disk, store.path, store.tokens, entropy=store.entropy, clock=store.clock)
        sys.stderr.write(f"the operator's token is in {path / NAME}\n")
        if workers == 1:
            serve_store(store, settings, started=_tell)
    if workers > 1:
        serve_shared(str(path), workers, settings, options, started=_tell)


def _tell(url: str) -> None:
    sys.stdout.write(f"listening on {url}\n")
    sys.stdout.flush()
