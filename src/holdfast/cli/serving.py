"""The command that serves a store over HTTP."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from holdfast.cli.configuring import File, configuration
from holdfast.cli.opening import keywords
from holdfast.cli.options import AsJson, StoreOptions, StorePath, output_of, settings_of
from holdfast.cli.output import Output, flush_results
from holdfast.store import open_store

if TYPE_CHECKING:
    from holdfast.server.settings import Settings
    from holdfast.store import Store

Mode = Literal["session", "bearer"]
Logged = Literal["none", "problems", "all"]
Images = Annotated[
    list[str] | None,
    typer.Option(metavar="ID", help="An image that may come, any if none; repeatable."),
]
Shown = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="An enclave's document of the store's key, to show."),
]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(serve)


def serve(
    context: typer.Context,
    *,
    path: StorePath,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; 127.0.0.1 if not said.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="TCP port, 8080 if not said; 0 lets the system choose.")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="Serve gRPC as well, on this TCP port; 0 as for --port.")
    ] = None,
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
        Mode | None, typer.Option(help="Enclaves open sessions; or show a document each time.")
    ] = None,
    attestation_root: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A root of enclaves in place of Amazon's; repeatable."),
    ] = None,
    attestation_image: Images = None,
    key_document: Shown = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; each holds a range of the buckets.")
    ] = None,
    log: Annotated[
        Logged | None, typer.Option(help="Which requests are logged; problems if not said.")
    ] = None,
    config: File = None,
    as_json: AsJson = False,
) -> None:
    """Serve the store over HTTP until SIGTERM or Ctrl-C; a new store where there is none."""
    output = output_of(context, as_json=as_json)
    flags = {
        "host": host,
        "port": port,
        "grpc_port": grpc_port,
        "unix_socket": _text(unix_socket),
        "tls_cert": _text(tls_cert),
        "tls_key": _text(tls_key),
        "insecure": insecure or None,
        "attestation.mode": attestation_mode,
        "attestation.roots": attestation_root or None,
        "attestation.images": attestation_image or None,
        "key_document": _text(key_document),
        "workers": workers,
        "log": log,
    }
    options = settings_of(context).store
    _serve(path, lambda: configuration(path, config, flags).settings, options, output)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _serve(
    path: Path, settings_now: Callable[[], Settings], options: StoreOptions, output: Output
) -> None:
    """Serve until a signal ends it; SIGHUP has the settings read again."""
    from holdfast.identity.operator import NAME, admin_token  # noqa: PLC0415 - 50 ms
    from holdfast.server import serve as serve_store  # noqa: PLC0415 - needs an extra
    from holdfast.server.listeners import secured  # noqa: PLC0415
    from holdfast.server.logs import write_to  # noqa: PLC0415
    from holdfast.server.supervisor import serve_shared  # noqa: PLC0415

    settings = settings_now()
    secured(settings)  # before a store is made
    write_to(sys.stderr)
    said = keywords(options)

    def prepare(store: Store) -> None:
        admin_token(store.disk, store.path, store.tokens, entropy=store.entropy, clock=store.clock)
        output.remark(f"the operator's token is in {path / NAME}")

    def tell(url: str) -> None:
        output.item({"url": url}, f"listening on {url}")
        flush_results()  # whoever started it waits for that

    if settings.workers > 1:
        serve_shared(str(path), settings, said, started=tell, reload=settings_now, prepare=prepare)
        return
    with open_store(str(path), in_place=False, **said) as store:
        prepare(store)
        serve_store(store, settings, started=tell, reload=settings_now)
