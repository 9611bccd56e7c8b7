"""The operator on this machine: who owns the folder, or reads the file in it."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

import holdfast
from holdfast.access.decide import Ask
from holdfast.clock import SystemEntropy
from holdfast.engines.disk import OsDisk
from holdfast.errors import Corrupt, Forbidden, Unauthenticated
from holdfast.identity.keys import NAME as KEY_NAME
from holdfast.identity.keys import put_file_if_absent, signing_key
from holdfast.identity.operator import NAME, UCRED, admin_token, operator_at
from holdfast.store import Store


def token_of(store: Store) -> str:
    return admin_token(
        store.disk, store.path, store.tokens, entropy=store.entropy, clock=store.clock
    )


def test_the_admin_token_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data") as store:
        made = token_of(store)
        assert token_of(store) == made
    with holdfast.open(tmp_path / "data") as store:
        assert token_of(store) == made
        principal = store.tokens.verify(made)
        assert (principal.kind, principal.name) == ("operator", "local")
        for address in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"):
            store.access.decide(principal, Ask("", "backup", None, 0, address))
        for address in ("10.0.0.1", "", "::2"):
            with pytest.raises(Forbidden):
                store.access.decide(principal, Ask("", "backup", None, 0, address))
    for name in (NAME, KEY_NAME):
        assert stat.S_IMODE((tmp_path / "data" / name).stat().st_mode) == 0o600
    assert not list((tmp_path / "data").glob("*.pem.*"))


def test_a_revoked_or_spoilt_admin_token_is_made_anew(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data") as store:
        first = token_of(store)
        store.tokens.revoke(store.tokens.verify(first).credential)
        second = token_of(store)
        assert second != first
        (tmp_path / "data" / NAME).write_bytes(b"\xff\xfe")
        third = token_of(store)
        assert len({first, second, third}) == 3
        assert store.tokens.verify(third).kind == "operator"


def test_the_kernel_says_who_is_at_the_other_end() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        told = ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
    assert operator_at(told, os.getuid()).kind == "operator"
    for credentials in (UCRED.pack(1, 1234, 0), b"", told + b"\0"):
        with pytest.raises(Unauthenticated):
            operator_at(credentials, 1000)
    assert operator_at(UCRED.pack(1, 0, 0), 1000).name == "uid 0"


def test_processes_that_make_the_key_at_once_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = OsDisk()
    (folder := tmp_path / "data").mkdir()
    other = []

    def quicker(*where: object) -> bool:
        monkeypatch.setattr("holdfast.identity.keys.put_file_if_absent", put_file_if_absent)
        other.append(signing_key(disk, str(folder), SystemEntropy()))
        return put_file_if_absent(*where)  # type: ignore[arg-type]

    monkeypatch.setattr("holdfast.identity.keys.put_file_if_absent", quicker)
    assert signing_key(disk, str(folder), SystemEntropy()).id == other[0].id
    assert os.listdir(folder) == [KEY_NAME]  # noqa: PTH208


def test_a_key_file_that_holds_no_key_is_damage(tmp_path: Path) -> None:
    (tmp_path / KEY_NAME).write_bytes(b"nonsense")
    with pytest.raises(Corrupt):
        signing_key(OsDisk(), str(tmp_path), SystemEntropy())
