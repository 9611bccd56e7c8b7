"""Public attestation documents with what is known of them; they lie beside the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "nitro"
MS_NS = 1_000_000
SIGNED_NS = {
    "ev_valid": 1_665_651_482_136 * MS_NS,
    "ev_debug": 1_665_582_606_081 * MS_NS,
    "vera_good": 1_668_034_320_696 * MS_NS,
    "vera_badsig": 1_668_034_320_696 * MS_NS,
}
IMAGES = {
    "ev_valid": "6971d0bb7bc3d66d5cddd8f3b5a58a529e93100e2508659b3f4fb3b35007e149",
    "vera_good": "89215485b0814583da94bb05f489df5e4f4ae327448975fb354085bad33559e8",
}
needed = pytest.mark.skipif(not FOLDER.exists(), reason=f"no public documents at {FOLDER}")


def document(name: str) -> bytes:
    return (FOLDER / f"{name}.bin").read_bytes()
