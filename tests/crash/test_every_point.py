"""Cut one run at every point of its disk, in every mode, and reopen (rule 23).

0 acknowledged writes lost, 0 half batches, 0 deleted or expired values back,
``check()`` clean, counts exact, versions above all that were told.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest

from holdfast.bucket.settings import Sync
from holdfast.testing.disk import MODES
from holdfast.testing.simulator import Settings
from tests.crash.story import Case, RealViews, Story, judge

SEED = 36  # of a run that has splits, rolls, merges and collections inside
PARTS = 24  # tests that share the cases of a run, for workers
REAL = 500  # cuts with LMDB views, copied at the moment of the cut
SAMPLED = 15  # every so manyth case of a run whose other cases wait for the night
OTHERS: tuple[tuple[int, Sync], ...] = (
    (SEED, "interval"),
    (SEED, "never"),
    (6, "always"),
    (25, "always"),
)


@cache
def story_of(seed: int, sync: Sync) -> Story:
    return Story(seed, sync)


def judge_all(story: Story, cases: list[Case]) -> None:
    for case in cases:
        try:
            world = story.after(case)
            judge(world)
            world.store.close()
        except Exception as error:
            told = story.moment(case.point)[1].told
            message = f"{case} during {told}"
            raise AssertionError(message) from error


def test_the_run_has_everything_inside() -> None:
    story = story_of(SEED, "always")
    assert len(story.cases()) >= 10_000
    least = {"split": 5, "roll": 1, "born": 5, "merge": 2, "retired": 2, "drop": 10}
    assert {name: story.counts[name] for name in least if story.counts[name] < least[name]} == {}
    assert sum(map(len, story.shelf.history.values())) >= 30  # commits of views


@pytest.mark.parametrize("part", range(PARTS))
def test_every_cut(part: int) -> None:
    story = story_of(SEED, "always")
    judge_all(story, story.cases()[part::PARTS])


@pytest.mark.parametrize(("seed", "sync"), OTHERS)
def test_a_sample_of_other_runs(seed: int, sync: Sync) -> None:
    story = story_of(seed, sync)
    judge_all(story, story.cases()[seed % SAMPLED :: SAMPLED])


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize(("seed", "sync"), OTHERS)
def test_every_cut_of_other_runs(seed: int, sync: Sync, part: int) -> None:
    story = story_of(seed, sync)
    judge_all(story, story.cases()[part::PARTS])


def test_cuts_with_the_real_views(tmp_path: Path) -> None:
    # Views take of the disk's bound, so a run with real ones has points of its own.
    first = RealViews(SEED, Settings(views="kept"), tmp_path / "first", set())
    points = Story(SEED, "always", first).points
    first.store.close()
    chosen = {1 + number * points // REAL for number in range(REAL)}
    world = RealViews(SEED, Settings(views="kept"), tmp_path / "cut", chosen)
    story = Story(SEED, "always", world)
    assert story.points == points
    world.store.close()
    assert len(world.copies) == REAL
    for number, (point, folder) in enumerate(sorted(world.copies.items())):
        case = Case(point, MODES[number % len(MODES)], number, folder)
        judge_all(story, [case])
        shutil.rmtree(folder)
