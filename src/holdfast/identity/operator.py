"""The operator on this machine: who owns the store's folder, or reads a file in it.

Over a Unix socket the kernel says who is at the other end; over loopback a token does,
made when the store is first served:

    <store>/admin-token    a token of kind "operator", readable by its owner alone

It is a token like any other, narrowed to loopback addresses, so it ends, can be revoked
(the next start makes another) and is worth nothing from elsewhere.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Final

from holdfast.access.grants import EVERY, RIGHTS
from holdfast.clock import Clock, Entropy
from holdfast.engines.port import Disk
from holdfast.errors import Unauthenticated
from holdfast.identity.keys import SUFFIX_BYTES, put_file_if_absent, read_file
from holdfast.identity.tokens import Tokens
from holdfast.limits import SECOND_NS
from holdfast.values import Grant, Principal

NAME: Final = "admin-token"
TTL_S: Final = 366 * 86_400
LEFT_NS: Final = 30 * 86_400 * SECOND_NS  # with less to live it is made anew at the next start
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
# What SO_PEERCRED gives (unix(7)): struct ucred {pid_t pid; uid_t uid; gid_t gid;}
UCRED: Final = struct.Struct("=iII")
ROOT: Final = 0


def operator_at(credentials: bytes, owner: int) -> Principal:
    """Who is at the other end of a Unix socket: the operator, or nobody we know.

    Args:
        credentials: what ``getsockopt(SOL_SOCKET, SO_PEERCRED, UCRED.size)`` gave.
        owner: the user id that this process runs under; root is let in too.

    Raises:
        Unauthenticated: another user ("user").

    Example:
        >>> operator_at(UCRED.pack(42, 1000, 1000), 1000).name
        'uid 1000'
    """
    if len(credentials) != UCRED.size:
        raise Unauthenticated(reason="user")
    _, user, _ = UCRED.unpack(credentials)
    if user not in {owner, ROOT}:
        raise Unauthenticated(reason="user")
    return Principal("operator", f"uid {user}", (Grant(EVERY, RIGHTS),), f"uid:{user}")


def admin_token(disk: Disk, folder: str, tokens: Tokens, *, entropy: Entropy, clock: Clock) -> str:
    """The token in the store's folder, made if there is none that still counts.

    Raises:
        OSError: as the disk says it.
    """
    path = f"{folder}/{NAME}"
    with suppress(FileNotFoundError, Unauthenticated, UnicodeDecodeError):
        held = read_file(disk, path).decode().strip()
        until_ns = tokens.verify(held).until_ns
        if until_ns is not None and until_ns - clock.wall_ns() > LEFT_NS:
            return held
    disk.unlink(path)
    made = tokens.mint(
        "local", [Grant(EVERY, RIGHTS, networks=LOOPBACK)], TTL_S, kind="operator"
    ).token
    content = (f"{made}\n".encode(), entropy.bytes(SUFFIX_BYTES).hex())
    if put_file_if_absent(disk, folder, NAME, content):
        return made
    return read_file(disk, path).decode().strip()
