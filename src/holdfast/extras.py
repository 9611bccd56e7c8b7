"""What a base install leaves out, and which extra brings it (pyproject.toml)."""

from __future__ import annotations

from typing import Final

_BRINGS: Final = {
    "Stemmer": "search",
    "google": "grpc",
    "grpc": "grpc",
    "httpcore": "client",
    "httptools": "server",
    "httpx": "client",
    "numpy": "search",
    "prometheus_client": "server",
    "pyroaring": "search",
    "rich": "cli",
    "starlette": "server",
    "typer": "cli",
    "uvicorn": "server",
    "uvloop": "server",
}


def wanted(error: ModuleNotFoundError) -> str | None:
    """What to install for a module that is missing, or None where that is no extra's.

    Example:
        >>> wanted(ModuleNotFoundError(name="grpc.aio"))
        'holdfast[grpc]'
    """
    extra = _BRINGS.get((error.name or "").split(".")[0])
    return None if extra is None else f"holdfast[{extra}]"
