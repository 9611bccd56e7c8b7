"""The store's own signing key: one Ed25519 key, in a file of its own.

    <store>/signing-key.pem    PKCS #8, PEM, readable by its owner alone

It is made when it is first needed. A backup holds no keys: a store that is restored
elsewhere makes a new one, so what the old one signed opens nothing there, unless the
operator brings the file along.

    <store>/signing-key.old.pem    the key before, until it has signed its hand-over

A key is replaced by putting the new one in the place of the old one, which stays beside it
until what it has to sign last is durable (store/rotation.py). The renaming decides: before
it the old key is the store's, after it the new one.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from holdfast.clock import Entropy
from holdfast.engines.port import Disk
from holdfast.errors import Corrupt

NAME: Final = "signing-key.pem"
OLD: Final = "signing-key.old.pem"
SEED_BYTES: Final = 32
ID_CHARS: Final = 16
SUFFIX_BYTES: Final = 8


class SigningKey:
    """A signing key and its id. What it is made of shows nowhere.

    Args:
        private: the key.
    """

    __slots__ = ("_private", "id")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = sha256(raw).hexdigest()[:ID_CHARS]

    @property
    def private(self) -> Ed25519PrivateKey:
        """The key itself, to sign with."""
        return self._private

    def public_pem(self) -> bytes:
        """The public half, for whoever verifies."""
        public = self._private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def __repr__(self) -> str:
        return f"SigningKey({self.id!r})"


def signing_key(disk: Disk, folder: str, entropy: Entropy) -> SigningKey:
    """The key of the store in a folder, made and durable if there is none yet.

    Two processes that make it at once end up with the same one.

    Raises:
        Corrupt: the file is there and holds no Ed25519 key.
        OSError: as the disk says it.
    """
    path = f"{folder}/{NAME}"
    private = _read(disk, path) or _make(disk, folder, path, entropy)
    return SigningKey(private)


def _read(disk: Disk, path: str) -> Ed25519PrivateKey | None:
    try:
        data = read_file(disk, path)
    except FileNotFoundError:
        return None
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        raise Corrupt(position=NAME, what="the signing key cannot be read") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Corrupt(position=NAME, what="the signing key is of another kind")
    return key


def replace_key(disk: Disk, folder: str, entropy: Entropy) -> SigningKey:
    """Put a new key in the place of the store's, which is kept as the old one; the new key.

    Raises:
        Corrupt: there is a key that cannot be read.
        OSError: as the disk says it.
    """
    signing_key(disk, folder, entropy)
    made, data = _fresh(entropy)
    path, fresh = f"{folder}/{NAME}", f"{folder}/{NAME}.{entropy.bytes(SUFFIX_BYTES).hex()}"
    write_file(disk, fresh, data)
    disk.link(path, f"{folder}/{OLD}")
    disk.sync_folder(folder)  # else a crash may keep the new name alone: no key for the hand-over
    disk.rename(fresh, path)
    disk.sync_folder(folder)
    return SigningKey(made)


def old_key(disk: Disk, folder: str) -> SigningKey | None:
    """The key that has not signed its hand-over yet; None where none is waiting."""
    found = _read(disk, f"{folder}/{OLD}")
    return None if found is None else SigningKey(found)


def forget_old_key(disk: Disk, folder: str) -> None:
    """Remove the key before: it has signed its hand-over, or was never replaced."""
    disk.unlink(f"{folder}/{OLD}")
    disk.sync_folder(folder)


def _fresh(entropy: Entropy) -> tuple[Ed25519PrivateKey, bytes]:
    """A new key, and its file."""
    made = Ed25519PrivateKey.from_private_bytes(entropy.bytes(SEED_BYTES))
    return made, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _make(disk: Disk, folder: str, path: str, entropy: Entropy) -> Ed25519PrivateKey:
    made, data = _fresh(entropy)
    if put_file_if_absent(disk, folder, NAME, (data, entropy.bytes(SUFFIX_BYTES).hex())):
        return made
    theirs = _read(disk, path)  # another process was quicker
    return theirs if theirs is not None else made


def read_file(disk: Disk, path: str) -> bytes:
    """All bytes of a small file; FileNotFoundError where there is none."""
    file = disk.open(path)
    try:
        return file.read(0, file.size())
    finally:
        file.close()


def write_file(disk: Disk, path: str, data: bytes) -> None:
    """Write a small new file; its bytes are durable, its name is once the folder is synced."""
    file = disk.open(path, create=True)
    try:
        file.write(0, (data,))
        file.sync()
    finally:
        file.close()


def put_file_if_absent(disk: Disk, folder: str, name: str, content: tuple[bytes, str]) -> bool:
    """Put a whole file in its place, durably, unless one is there: then False.

    Args:
        disk: where.
        folder: the folder, which exists.
        name: of the file.
        content: its bytes, and a suffix that nobody else uses for the file while it grows.
    """
    data, suffix = content
    fresh = f"{folder}/{name}.{suffix}"
    write_file(disk, fresh, data)
    try:
        disk.link(fresh, f"{folder}/{name}")
    except FileExistsError:
        return False
    finally:
        disk.unlink(fresh)
        disk.sync_folder(folder)
    return True
