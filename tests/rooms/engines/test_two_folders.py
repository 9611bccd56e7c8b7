"""Segments that buckets of one folder share with buckets of another, at once."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier, Thread

from holdfast.engines.disk import OsDisk
from holdfast.engines.files import FileSegments

SHARES, ROUNDS = 4, 12


def at_home(segments: FileSegments, bucket: str, folder: Path) -> None:
    segments._homes[bucket] = str(folder)
    segments._fresh.add(bucket)


def test_each_copy_is_of_its_own_segment(tmp_path: Path) -> None:
    """All copies into a folder have one name until they are whole."""
    for turn in range(ROUNDS):
        one, other = tmp_path / f"{turn}a", tmp_path / f"{turn}b"
        segments = FileSegments(OsDisk(), [str(one), str(other)], create=True)
        want, go = [], Barrier(SHARES)
        for number in range(SHARES):
            at_home(segments, f"parent{number}", one)
            at_home(segments, f"child{number}", other)
            want.append(b"%d" % number * 200_000)
            segments.begin(f"parent{number}", 1, [want[-1]])

        def share(number: int, go: Barrier = go, segments: FileSegments = segments) -> None:
            go.wait()
            segments.share(f"parent{number}", 1, f"child{number}", 1)

        threads = [Thread(target=share, args=(number,)) for number in range(SHARES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        found = [(other / f"child{n}" / f"{1:016x}.seg").read_bytes() for n in range(SHARES)]
        assert found == want
