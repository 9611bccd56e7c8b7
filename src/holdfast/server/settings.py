"""What can be set about a server, with the defaults; frozen values with units in their names."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from holdfast.identity.enclaves import AttestationSettings
from holdfast.identity.issuers import IssuerSettings
from holdfast.limits import MIB, REQUEST_HEADER_BYTES, REQUEST_HEADERS

Logged = Literal["none", "problems", "all"]
Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class WebhookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is told that an account is low.

    Args:
        url: where events are sent; None: nobody is told.
        secret_file: holds the secret that they are signed with, at least 16 bytes.
    """

    url: str | None = None
    secret_file: str | None = None


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a server listens, what it bounds, what it tells.

    Args:
        host: address to listen on; any but a loopback one needs TLS, or ``insecure``.
        port: TCP port; 0 lets the system choose.
        grpc_port: TCP port of the gRPC door, which is shut without one; 0 as for ``port``.
        unix_socket: path of a Unix socket to listen on as well.
        tls_cert: PEM file of the certificate and its chain; with ``tls_key``.
        tls_key: PEM file of its key.
        insecure: serve strangers without TLS all the same.
        connections: how many at once.
        header_bytes: of one request, at most; ``header_count`` lines.
        header_s: seconds in which a request's header must have come.
        body_s: seconds without a byte of a body, and of grace before ``body_bytes_s`` counts.
        body_bytes_s: a body that comes slower on average is given up.
        idle_s: seconds that a connection without a request is kept.
        send_s: seconds that a reader may leave the send buffer full.
        drain_s: seconds for what is under way when the server stops.
        tenant_requests: requests of one namespace under way at once.
        queued_bytes: of values that wait for their commit, all together.
        gathered_bytes: of bodies that came in and are not answered, all together.
        kept_bytes: of small objects in memory for who asks for them again, all together, in each
            process; 0 keeps none.
        attestation: what is believed of enclaves.
        key_document: a file with the attestation document of the enclave that the server runs
            in, which binds the store's signing key; told beside signed roots, read each time.
        issuers: who else's tokens are believed, besides the store's own.
        webhook: who is told that an account is low.
        workers: processes; each holds a range of the buckets.
        log: which requests are logged: none; those that failed, or that the server would not take
            (not those that only did not find what they expected); or all.
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    grpc_port: Port | None = None
    unix_socket: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    insecure: bool = False
    connections: Count = 10_000
    header_bytes: Count = REQUEST_HEADER_BYTES
    header_count: Count = REQUEST_HEADERS
    header_s: Seconds = 10.0
    body_s: Seconds = 30.0
    body_bytes_s: Count = 1024
    idle_s: Seconds = 75.0
    send_s: Seconds = 60.0
    drain_s: Seconds = 10.0
    tenant_requests: Count = 1024
    queued_bytes: Count = 64 * MIB
    gathered_bytes: Count = 256 * MIB
    kept_bytes: Annotated[int, msgspec.Meta(ge=0)] = 64 * MIB
    attestation: AttestationSettings = AttestationSettings()
    key_document: str | None = None
    issuers: tuple[IssuerSettings, ...] = ()
    webhook: WebhookSettings = WebhookSettings()
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    log: Logged = "problems"
