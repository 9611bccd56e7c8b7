from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from bench.compare import MODULES, Engine, Setting, installed, start
from bench.data import GROUP, key_at, prefix_of, scattered, values
from bench.workloads import steps

STORES = [name for name in MODULES if name != "bare"]


@pytest.fixture(params=["always", "never"])
def setting(request: pytest.FixtureRequest) -> Setting:
    durability: Literal["always", "never"] = request.param
    return Setting(durability)


@pytest.fixture(params=STORES)
def name(request: pytest.FixtureRequest) -> str:
    engine: str = request.param
    if not installed(engine):
        pytest.skip(f"{engine} is not here")
    return engine


@pytest.fixture
def engine(name: str, setting: Setting, tmp_path: Path) -> Iterator[Engine]:
    opened = start(name, tmp_path / "store", setting)
    yield opened
    opened.close()


def test_what_was_put_is_there_after_a_close(name: str, setting: Setting, tmp_path: Path) -> None:
    pool = values(1_024)
    engine = start(name, tmp_path / "store", setting)
    steps.fill(engine, 50, pool, batch=20)
    key = engine.native(key_at(50))
    engine.put(key, pool[50])
    engine.settle()
    engine.close()
    engine = start(name, tmp_path / "store", setting)
    steps.check(engine, range(51), pool)
    engine.close()


def test_an_absent_key_is_noticed(engine: Engine) -> None:
    steps.fill(engine, 10, values(1_024))
    with pytest.raises((steps.WrongValueError, KeyError)):
        steps.check(engine, [11], values(1_024))


def test_a_put_replaces(engine: Engine) -> None:
    key = engine.native(key_at(0))
    engine.put(key, b"first")
    engine.put_many([(key, b"second")])
    assert engine.get(key) == b"second"


def test_a_list_is_the_groups_keys_in_order(engine: Engine) -> None:
    if type(engine).list is Engine.list:
        pytest.skip("has no ordered list")
    groups = steps.batches(steps.pairs(engine, scattered(0, 3 * GROUP), values(16)), GROUP)
    for group in groups:
        engine.put_many(group)
    listed = engine.list(engine.native(prefix_of(1)), GROUP)
    assert listed == sorted(engine.native(key_at(GROUP + number)) for number in range(GROUP))


def test_the_bare_loop_appends_what_it_is_given(setting: Setting, tmp_path: Path) -> None:
    engine = start("bare", tmp_path, setting)
    engine.put("any", b"one")
    engine.put_many([("any", b"two"), ("any", b"three")])
    engine.close()
    assert (tmp_path / "bare").read_bytes() == b"onetwothree"
