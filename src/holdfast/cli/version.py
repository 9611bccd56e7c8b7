"""What ``holdfast --version`` prints: known without the commands, which take half a second."""

from __future__ import annotations

from importlib import metadata


def version_line() -> str:
    """The program and its version, as one line."""
    try:
        version = metadata.version("holdfast")
    except metadata.PackageNotFoundError:
        version = "(run from its source, not installed)"
    return f"holdfast {version}\n"
