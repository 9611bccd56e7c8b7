"""Where a server's settings come from: defaults < file < environment < flags.

    a setting         in the file (TOML)        in the environment           as a flag
    port              port = 8080               HOLDFAST_PORT=8080           --port 8080
    attestation.mode  [attestation]             HOLDFAST_ATTESTATION_MODE    --attestation-mode
                      mode = "session"
    issuers           [[issuers]] ...           (a file only)

Lists in the environment are separated by commas.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from holdfast.errors import InvalidValue
from holdfast.server.settings import Settings

NAME: Final = "holdfast.toml"  # in the store's folder
PREFIX: Final = "HOLDFAST_"
FILE_ONLY: Final = frozenset(("issuers",))
DEFAULT: Final = "default"


class Config(msgspec.Struct, frozen=True):
    """Settings, and for each by its dotted name where it was said."""

    settings: Settings
    origins: dict[str, str]

    def values(self) -> dict[str, object]:
        """Every setting by its dotted name, as plain data."""
        return dict(_flat(msgspec.to_builtins(self.settings)))


def load(
    flags: Mapping[str, object],
    environment: Mapping[str, str],
    *,
    file: str | None = None,
    text: bytes = b"",
) -> Config:
    """The settings that are in force.

    Args:
        flags: by dotted name, those that were said.
        environment: the process's.
        file: the name of the file, to tell it; None where there is none.
        text: what is in it.

    Raises:
        InvalidValue: a name that is no setting, or a value that is none of it.
    """
    said: dict[str, object] = {}
    origins = dict.fromkeys(names(), DEFAULT)
    for where, found in (
        (f"file {file}", dict(_flat(_read(text, file)))),
        ("environment {name}", _from(environment)),
        ("flag --{flag}", dict(flags)),
    ):
        for name, value in found.items():
            if name not in origins:
                raise InvalidValue(argument=name, reason="no such setting", origin=file)
            said[name] = value
            origins[name] = where.format(name=variable(name), flag=_flag(name))
    try:
        settings = msgspec.convert(_nested(said), Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidValue(argument="configuration", reason=str(error)) from None
    return Config(settings, origins)


def names() -> tuple[str, ...]:
    """Every setting by its dotted name."""
    return tuple(name for name, _ in _flat(msgspec.to_builtins(Settings())))


def variable(name: str) -> str:
    """The variable of the environment that says a setting."""
    return PREFIX + name.upper().replace(".", "_")


def _flag(name: str) -> str:
    return name.replace(".", "-").replace("_", "-")


def _read(text: bytes, file: str | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidValue(argument="configuration", reason=str(error), origin=file) from None


def _from(environment: Mapping[str, str]) -> dict[str, object]:
    lists = {
        name for name, value in _flat(msgspec.to_builtins(Settings())) if _is_list(name, value)
    }
    return {
        name: text.split(",") if name in lists else text
        for name in names()
        if name not in FILE_ONLY and (text := environment.get(variable(name))) is not None
    }


def _is_list(name: str, value: object) -> bool:
    return isinstance(value, list | tuple) or name == "attestation.images"


def _flat(told: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of nested tables, by its dotted name."""
    for name, value in told.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def _nested(said: Mapping[str, object]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in said.items():
        *above, last = name.split(".")
        table = told
        for part in above:
            table = table.setdefault(part, {})
        table[last] = value
    return told
