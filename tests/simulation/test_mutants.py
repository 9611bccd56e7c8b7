"""The simulator notices when a rule is taken out: a test that cannot fail is a defect."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.bucket import birth, commit, fork, replay
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.sessions import Sessions
from holdfast.log.group import Group
from holdfast.log.header import KeptNumbers
from holdfast.log.log import Log
from holdfast.store.timemark import TimeMark
from holdfast.testing.simulator import Deviation, simulate

SEEDS = 400

Mutate = Callable[[pytest.MonkeyPatch], None]


def _sync_that_syncs_nothing(patch: pytest.MonkeyPatch) -> None:
    def sync(log: Log) -> None:
        log.synced, log.durable = log.stop, log.position

    patch.setattr(Log, "sync", sync)


def _segments_end_unsynced(patch: pytest.MonkeyPatch) -> None:
    def hasty(bucket: Bucket) -> None:
        bucket.log.synced = bucket.log.stop

    patch.setattr(commit, "_sync_active", hasty)


def _highest_key_forgotten(patch: pytest.MonkeyPatch) -> None:
    noted = replay.note_floors

    def forgetful(opened: Bucket, groups: list[Group]) -> None:
        highest = opened.highest
        noted(opened, groups)
        opened.highest = highest

    patch.setattr(replay, "note_floors", forgetful)


def _older_views_trusted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Log, "continues", Log.contains)


def _views_not_cut_after_a_split(patch: pytest.MonkeyPatch) -> None:
    for room in (birth, fork):
        patch.setattr(room, "cut_view", lambda *_: None)


def _numbers_not_in_the_state_of_a_segment(patch: pytest.MonkeyPatch) -> None:
    told = Sessions.told

    def silent(sessions: Sessions, now_ns: int) -> KeptNumbers:
        return KeptNumbers(told(sessions, now_ns).since_ns)

    patch.setattr(Sessions, "told", silent)


def _numbers_not_read_from_the_log(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sessions, "replay", lambda *_: None)


def _numbers_kept_of_writes_that_failed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sessions, "forget", Sessions.settle)


def _time_marks_not_written(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TimeMark, "write", lambda *_: True)


MUTANTS: list[Mutate] = [
    _time_marks_not_written,
    _sync_that_syncs_nothing,
    _segments_end_unsynced,
    _highest_key_forgotten,
    _older_views_trusted,
    _views_not_cut_after_a_split,
    _numbers_not_in_the_state_of_a_segment,
    _numbers_not_read_from_the_log,
    _numbers_kept_of_writes_that_failed,
]


@pytest.mark.push
@pytest.mark.parametrize("mutate", MUTANTS)
def test_the_simulator_notices(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch)
    with pytest.raises(Deviation):
        _simulate_all()


def _simulate_all() -> None:
    for seed in range(SEEDS):
        simulate(seed)
