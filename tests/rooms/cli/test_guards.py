from __future__ import annotations

from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]


def test_a_lock_outlives_the_command_that_took_it(run: Run) -> None:
    taken = run("lock", "data", "acme", "job", "--json").document
    assert taken["key"] == "job"
    held = run("lock", "data", "acme", "job", "--json")
    assert (held.code, held.error["error"]) == (5, "lock_held")
    assert run("unlock", "data", "acme", "job", taken["id"]).out == "job: unlocked\n"
    again = run("lock", "data", "acme", "job")
    assert again.code == 0
    assert [line.split()[0] for line in again.lines] == ["id", "fence"]
    assert int(again.lines[1].split()[1]) > taken["fence"]


def test_a_fence_guards_the_key_while_its_lock_holds(run: Run) -> None:
    first = run("lock", "data", "acme", "k", "--ttl", "1h", "--json").document
    fence = str(first["fence"])
    assert run("put", "data", "acme", "k", "--text", "1", "--fence", fence).code == 0
    run("unlock", "data", "acme", "k", first["id"])
    lost = run("put", "data", "acme", "k", "--text", "2", "--fence", fence, "--json")
    assert (lost.code, lost.error["error"]) == (3, "lock_lost")
    run("lock", "data", "acme", "k")
    old = run("put", "data", "acme", "k", "--text", "2", "--fence", fence, "--json")
    assert (old.code, old.error["error"]) == (3, "fence_too_old")
    assert run("get", "data", "acme", "k").raw == b"1"


def test_waiting_as_long_as_the_ttl_takes_over_a_dead_holders_lock(run: Run) -> None:
    first = run("lock", "data", "acme", "k", "--ttl", "0.3", "--json").document
    second = run("lock", "data", "acme", "k", "--wait", "60", "--json").document
    assert second["fence"] > first["fence"]


def test_an_id_that_does_not_hold(run: Run) -> None:
    run("lock", "data", "acme", "k")
    wrong = run("unlock", "data", "acme", "k", "00" * 20, "--json")
    assert (wrong.code, wrong.error["error"]) == (3, "lock_lost")


def test_consumers_are_set_added_removed_and_listed(run: Run) -> None:
    run("put", "data", "acme", "k", "--text", "v", "--consumer", "u1", "--consumer", "u2")
    assert run("consumers", "data", "acme", "k").lines == ["u1", "u2"]
    assert run("consumers", "data", "acme", "k", "append", "u3").lines == ["u1", "u2", "u3"]
    removed = run("consumers", "data", "acme", "k", "remove", "u1", "u9")
    assert removed.lines == ["u2", "u3"]
    assert removed.err == "not in the list: u9\n"
    left = run("consumers", "data", "acme", "k", "remove", "u8", "u2", "--json").document
    assert left == {"key": "k", "consumers": ["u3"], "not_found": ["u8"]}
    assert run("consumers", "data", "acme", "k", "set", "a", "b", "--json").document == {
        "key": "k",
        "consumers": ["a", "b"],
    }


def test_who_loses_the_last_consumer_is_marked_and_collected(run: Run) -> None:
    run("put", "data", "acme", "k", "--text", "v", "--consumer", "u1")
    assert run("consumers", "data", "acme", "k", "remove", "u1").raw == b""
    assert run("stat", "data", "acme", "k", "--json").document["state"] == "marked"
    assert run("get", "data", "acme", "k").raw == b"v"
    assert run("collect", "data", "--json").document["removed"] == 1
    assert run("get", "data", "acme", "k").code == 4


def test_an_object_that_nobody_refers_to_any_more_is_told_as_marked(run: Run) -> None:
    run("put", "data", "acme", "k", "--text", "v")
    asked = ("consumers", "data", "acme", "k")
    assert run(*asked, "set").err == ""  # it never had one
    assert run(*asked, "set", "u1").err == ""
    assert run(*asked, "set").err == "k: marked: collected by the next collect\n"
    assert run(*asked).err == ""
    assert run(*asked, "set", "--json").document["marked"] is True
    assert "marked" not in run(*asked, "append", "u1", "--json").document
    assert "marked" in run(*asked, "remove", "u1").err


def test_consumers_of_nothing_and_wrong_words(run: Run) -> None:
    run("put", "data", "acme", "k", "--text", "v")
    assert run("consumers", "data", "acme", "nope").code == 4
    assert run("consumers", "data", "acme", "k", "list", "u1").code == 2
    assert run("consumers", "data", "acme", "k", "forget", "u1").code == 2
    long = run("consumers", "data", "acme", "k", "append", "x" * 17, "--json")
    assert long.code == 3
