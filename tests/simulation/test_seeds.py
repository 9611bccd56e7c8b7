"""Many stories of crashes, each from one seed; a failure prints its seed (rule 23).

``python -m holdfast.testing.simulator SEED`` tells a story again.
"""

from __future__ import annotations

import msgspec
import pytest

from holdfast.bucket.settings import Sync
from holdfast.testing.simulator import Settings, settings_of, simulate

PUSHED = 2_000
NIGHTLY = 200_000
CHUNK = 100  # seeds of one test, so that workers can share them
LONG_CHUNK = 500
SMALL_BYTES = 6_000  # of a segment, which holds few records then
NIGHT_S = 1_800  # of a long chunk, on a machine that others use too


@pytest.mark.push
@pytest.mark.parametrize("first", range(0, PUSHED, CHUNK))
def test_stories_of_a_push(first: int) -> None:
    for seed in range(first, first + CHUNK):
        simulate(seed)


@pytest.mark.push
def test_stories_whose_buckets_sleep_until_they_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.store.closed.TOLD_LEAST", 1)
    for seed in range(PUSHED, PUSHED + CHUNK):
        simulate(seed)


@pytest.mark.push
def test_stories_of_small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log goes on in the next ever so often: while a child borrows, amid a batch or a merge."""
    monkeypatch.setattr("holdfast.store.opening.segment_bytes", lambda _: SMALL_BYTES)
    for seed in range(PUSHED, PUSHED + CHUNK):
        simulate(seed)


def test_what_a_split_amid_a_batch_took_along_may_be_lost_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It lies in another log than what follows it in the batch, which a new segment had synced."""
    monkeypatch.setattr("holdfast.store.opening.segment_bytes", lambda _: SMALL_BYTES)
    simulate(6_000_000, Settings(sync="interval", steps_back=True), operations=150)


@pytest.mark.nightly
@pytest.mark.timeout(NIGHT_S)
@pytest.mark.parametrize("first", range(PUSHED, PUSHED + NIGHTLY, LONG_CHUNK))
def test_stories_of_a_night(first: int) -> None:
    for seed in range(first, first + LONG_CHUNK):
        simulate(seed)


@pytest.mark.nightly
@pytest.mark.timeout(NIGHT_S)
@pytest.mark.parametrize("first", range(1_000_000, 1_002_000, LONG_CHUNK))
def test_long_stories(first: int) -> None:
    for seed in range(first, first + LONG_CHUNK):
        simulate(seed, operations=150, lives=8)


@pytest.mark.parametrize(
    "seed",
    [
        141_599,  # a segment that could not be sealed kept the time mark from being written
        55_277,  # a bucket that could not finish its birth counted as one without expiry
    ],
)
def test_what_upkeep_cannot_finish_does_not_bring_the_dead_back(seed: int) -> None:
    simulate(seed)


def test_a_child_that_collected_since_is_not_read_through_its_parent() -> None:
    simulate(1_001_608, operations=150, lives=2)


def test_a_seed_tells_the_same_story_again() -> None:
    for seed in (3, 11):
        assert simulate(seed) == simulate(seed)


def test_stories_reach_what_they_are_for() -> None:
    reports = [simulate(seed) for seed in range(40)]
    assert sum(report.crashes for report in reports) >= 3 * len(reports)
    assert max(report.buckets for report in reports) >= 3
    assert {report.settings.sync for report in reports} == {"always", "interval", "never"}
    assert {report.settings.views for report in reports} == {"lost", "kept", "older"}


def test_what_is_asked_for_is_what_runs() -> None:
    settings = Settings(sync="never", views="kept", steps_back=True)
    assert simulate(5, settings, lives=2).settings == settings


def refuse(seed: int, sync: Sync) -> None:
    """A seed's story, on a disk that refuses."""
    simulate(seed, msgspec.structs.replace(settings_of(seed), sync=sync, faults=True))


@pytest.mark.push
@pytest.mark.parametrize("sync", ["always", "interval", "never"])
@pytest.mark.parametrize("first", range(0, 300, CHUNK))
def test_stories_on_disks_that_refuse(first: int, sync: Sync) -> None:
    for seed in range(first, first + CHUNK):
        refuse(seed, sync)


@pytest.mark.nightly
@pytest.mark.timeout(NIGHT_S)
@pytest.mark.parametrize("sync", ["always", "interval", "never"])
@pytest.mark.parametrize("first", range(0, 20_000, LONG_CHUNK))
def test_many_stories_on_disks_that_refuse(first: int, sync: Sync) -> None:
    for seed in range(first, first + LONG_CHUNK):
        refuse(seed, sync)


def test_a_removal_by_a_collect_whose_bucket_failed_is_in_doubt() -> None:
    simulate(109_672)


def test_what_a_borrowing_child_gave_away_is_not_counted_out_of_it() -> None:
    """Consumers that its own log replaces lie in the range of its child by now."""
    refuse(3_216, "always")
