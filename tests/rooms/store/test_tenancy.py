"""Rights kept in the store: durable, out of everybody's sight, restored, forgotten with a drop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import msgspec
import pytest

import holdfast
from holdfast.access.decide import ANONYMOUS, Ask
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import (
    Closed,
    Forbidden,
    InvalidKey,
    InvalidNamespace,
    InvalidValue,
    LimitExceeded,
    Unauthenticated,
)
from holdfast.request.arguments import RESERVED
from holdfast.server import Settings
from holdfast.store import Store
from holdfast.store.tenancy import (
    StoreRecords,
    issue_by,
    object_grant,
    revoke_by,
    share_by,
    signing_alone,
)
from holdfast.testing.clock import ManualClock
from holdfast.values import Grant, Principal, Right

BASE = "https://store.example"
ALL: tuple[Right, ...] = ("read", "write", "delete", "admin")


def token_in(link: str) -> str:
    return link.partition("?grant=")[2]


def may(store: Store, principal: Principal, ask: Ask) -> bool:
    try:
        store.access.decide(principal, ask)
    except (Forbidden, Unauthenticated):
        return False
    return True


# -- out of sight -----------------------------------------------------------------------


def test_no_caller_can_name_or_see_what_the_store_keeps_for_itself(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data", base_url=BASE) as store:
        acme = store.namespace("acme")
        acme.put("a", b"1")
        acme.publish("open/")
        acme.share("a")
        name = RESERVED.decode()
        calls: list[Callable[[], object]] = [
            lambda: store.namespace(name),
            lambda: store.locate(name, "a"),
            lambda: store.drop_namespace(name),
            lambda: store.access.publish(name, ""),
        ]
        for call in calls:
            with pytest.raises(InvalidNamespace):
                call()
        assert store.namespaces() == ["acme"]
        assert list(acme.list()) == ["a"]
        assert store.locate("acme", "a").start is None
        assert store.check().ok
        store.rebuild()
        assert store.namespaces() == ["acme"]


def test_a_store_that_shares_nothing_keeps_nothing(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data") as store:
        store.namespace("acme").put("a", b"1")
        store.drop_namespace("acme")
        assert sum(bucket.keys for bucket in store.status().buckets) == 0
    names = {path.name for path in (tmp_path / "data").iterdir()}
    assert names == {"CLOSED", "HOLDFAST", "LOCK", "index", "log"}


def test_ascending_keys_still_roll(tmp_path: Path) -> None:
    """The store's own records lie below every key of a caller, so nothing is in a roll's way."""
    with holdfast.open(tmp_path / "data", bucket_bytes=64 << 10, sync="never") as store:
        store.namespace("-").publish("")
        acme = store.namespace("-")
        for number in range(200):
            acme.put(f"{number:06d}", bytes(1024))
        bounds = [bucket.start for bucket in store.status().buckets]
        assert len(bounds) > 2
        assert store.access.published("-") == ("",)


def test_more_tokens_than_a_bucket_holds(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data", bucket_bytes=64 << 10, sync="never") as store:
        store.namespace("acme").put("a", b"1")
        ids = {store.tokens.mint("ci", [Grant("acme", ("read",))], 3_600).id for _ in range(400)}
        assert len(store.status().buckets) > 1
        assert {one.id for one in store.tokens.issued()} == ids
        assert store.namespaces() == ["acme"]
    with holdfast.open(tmp_path / "data") as store:
        assert {one.id for one in store.tokens.issued()} == ids
        assert store.check().ok


# -- durable --------------------------------------------------------------------------------


@pytest.mark.parametrize("sync", ["always", "interval", "never"])
def test_what_was_answered_is_there_after_opening_again(tmp_path: Path, sync: str) -> None:
    with holdfast.open(tmp_path / "data", sync=sync) as store:  # type: ignore[arg-type]
        store.namespace("acme").publish("open/")
        store.access.set_grants("acme", [("enclave:ab", Grant("acme", ("read",)))])
        store.access.set_origins("acme", ["https://app.example"])
        made = store.tokens.mint("ci", [Grant("acme", ("read",))], 600)
        store.tokens.revoke(made.id)
        kept = store.tokens.issue("ci", [Grant("acme", ("read",))], 600)
    with holdfast.open(tmp_path / "data") as store:
        assert store.namespace("acme").published() == ("open/",)
        assert [one.to for one in store.access.grants("acme")] == ["enclave:ab"]
        assert store.access.origins("acme") == ("https://app.example",)
        with pytest.raises(Unauthenticated):
            store.tokens.verify(made.token)
        assert may(store, store.tokens.verify(kept), Ask("acme", "load", "a"))
        assert may(store, Principal("enclave", "ab"), Ask("acme", "load", "a"))
        assert may(store, ANONYMOUS, Ask("acme", "load", "open/a"))


def test_a_link_is_never_good_for_more_uses_than_it_says(tmp_path: Path) -> None:
    granted = 3
    with holdfast.open(tmp_path / "data", base_url=BASE) as store:
        link = store.namespace("acme").share("a", uses=granted)
    used = 0
    for _ in range(3):
        with holdfast.open(tmp_path / "data") as store:
            principal = store.tokens.verify(token_in(link))
            assert store.access.counts(principal, "acme")
            used += sum(may(store, principal, Ask("acme", "load", "a")) for _ in range(2))
    assert used == granted


def test_a_backup_brings_rights_along_and_no_keys(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data") as store:
        acme = store.namespace("acme")
        acme.publish("open/")
        acme.put("a", b"1")
        token = store.tokens.issue("ci", [Grant("acme", ("read",))], 600)
        store.backup(tmp_path / "backup")
    for path in (tmp_path / "backup").rglob("*"):
        assert path.is_dir() or b"PRIVATE KEY" not in path.read_bytes()
    holdfast.restore(tmp_path / "backup", tmp_path / "again")
    with holdfast.open(tmp_path / "again") as store:
        assert store.namespaces() == ["acme"]
        assert store.namespace("acme").published() == ("open/",)
        with pytest.raises(Unauthenticated):
            store.tokens.verify(token)  # signed by the key that stayed behind
    key = "signing-key.pem"
    (tmp_path / "again" / key).write_bytes((tmp_path / "data" / key).read_bytes())
    with holdfast.open(tmp_path / "again") as store:
        assert store.tokens.verify(token).name == "ci"


def test_a_dropped_namespace_leaves_no_rights_behind(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data") as store:
        store.namespace("acme").publish("")
        store.namespace("acme2").publish("x")
    with holdfast.open(tmp_path / "data") as store:
        store.drop_namespace("acme")
        assert not may(store, ANONYMOUS, Ask("acme", "load", "a"))
        assert may(store, ANONYMOUS, Ask("acme2", "load", "x"))
    with holdfast.open(tmp_path / "data") as store:
        assert store.access.published("acme") == ()
        assert store.access.published("acme2") == ("x",)


def test_records_compare_versions() -> None:
    with holdfast.open(":memory:") as store:
        records = StoreRecords(store)
        first = records.put("a", b"1", 0)
        with pytest.raises(holdfast.Exists):
            records.put("a", b"2", 0)
        with pytest.raises(holdfast.VersionMismatch):
            records.put("a", b"2", first + 7)
        second = records.put("a", b"2", first)
        assert second > first
        assert records.get("a") == (b"2", second)
        records.put("ab", b"3", ttl_ns=1)
        assert [key for key, _ in records.list("a")] == ["a"]  # the other one expired
        records.delete("a")
        records.delete("a")
        assert records.get("a") is None
        with pytest.raises(LimitExceeded):
            records.put("a", bytes((1 << 20) + 1))


def test_a_closed_store_has_no_rights_to_ask() -> None:
    store = holdfast.open(":memory:")
    store.close()
    for ask in (lambda: store.tokens, lambda: store.access):
        with pytest.raises(Closed):
            ask()


# -- links, tokens and revocations at doors ----------------------------------------------------


def test_a_link_opens_one_object_for_a_while() -> None:
    clock = ManualClock()
    with holdfast.open(":memory:", clock=clock, base_url=BASE, upkeep=False) as store:
        link = store.namespace("acme").share("a b/ü", ttl="1h")
        assert link.startswith(f"{BASE}/v1/namespaces/acme/objects/a%20b/%C3%BC?grant=")
        principal = store.tokens.verify(token_in(link))
        assert principal.kind == "link"
        assert may(store, principal, Ask("acme", "load", "a b/ü"))
        for ask in (
            Ask("acme", "load", "a b/üü"),
            Ask("acme", "list", "a b/ü"),
            Ask("acme", "store", "a b/ü", 1),
            Ask("acme", "consumers.list", "a b/ü"),
            Ask("b", "load", "a b/ü"),
        ):
            assert not may(store, principal, ask)
        clock.advance(3_600_000_000_001)
        with pytest.raises(Unauthenticated):
            store.access.decide(principal, Ask("acme", "load", "a b/ü"))
        with pytest.raises(Unauthenticated):
            store.tokens.verify(token_in(link))


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a/b", "a/b"),
        ("/a", "%2Fa"),
        ("a//b", "a%2F%2Fb"),
        ("a/../b", "a%2F..%2Fb"),
        ("a?b#c%", "a%3Fb%23c%25"),
        ("a/", "a%2F"),
    ],
)
def test_a_link_survives_what_tidies_paths_up(key: str, path: str) -> None:
    with holdfast.open(":memory:", base_url=f"{BASE}/") as store:
        link = store.namespace("acme").share(key)
        assert link.partition("?")[0] == f"{BASE}/v1/namespaces/acme/objects/{path}"


def test_a_link_leads_where_a_server_usually_answers() -> None:
    with holdfast.open(":memory:") as store:
        link = store.namespace("acme").share("a", ttl="1h")
    assert link.partition("?")[0] == "http://127.0.0.1:8080/v1/namespaces/acme/objects/a"
    assert (Settings().host, Settings().port) == ("127.0.0.1", 8080)


def test_what_cannot_be_shared_makes_nothing() -> None:
    with holdfast.open(":memory:") as store:
        acme = store.namespace("acme")
        for error, call in (
            (InvalidValue, lambda: acme.share("a", base="")),
            (InvalidValue, lambda: acme.share("a", base="ftp://x")),
            (InvalidValue, lambda: acme.share("a", base=f"{BASE}?x")),
            (InvalidKey, lambda: acme.share("", base=BASE)),
            (InvalidValue, lambda: acme.share("a", rights=(), base=BASE)),
            (InvalidValue, lambda: acme.share("a", rights=("admin",), base=BASE)),
            (InvalidValue, lambda: acme.share("a", uses=0, base=BASE)),
            (InvalidValue, lambda: acme.publish("x" * 1025)),
            (holdfast.InvalidExpiry, lambda: acme.share("a", ttl="soon", base=BASE)),
        ):
            with pytest.raises(error):
                call()
        assert store.tokens.issued() == []
        assert store.access.published("acme") == ()


def holder(store: Store, *grants: Grant) -> Principal:
    return store.tokens.verify(store.tokens.issue("holder", grants, 600))


def test_somebody_shares_what_they_may_do_themselves_and_no_more() -> None:
    with holdfast.open(":memory:", base_url=BASE) as store:
        reader = holder(store, Grant("acme", ("read",), prefix="open/", networks=("10.0.0.0/8",)))
        wanted = object_grant("acme", "open/a", ("read",))
        link = share_by(store, reader, wanted, "1h", address="10.0.0.1")
        opened = store.tokens.verify(token_in(link))
        assert opened.until_ns == reader.until_ns  # ten minutes, though an hour was asked for
        assert may(store, opened, Ask("acme", "load", "open/a", 0, "10.0.0.2"))
        assert not may(store, opened, Ask("acme", "load", "open/a", 0, "11.0.0.2"))
        for key, rights, address in (
            ("shut/a", ("read",), "10.0.0.1"),
            ("open/a", ("read", "write"), "10.0.0.1"),
            ("open/a", ("read",), "11.0.0.1"),
        ):
            with pytest.raises(Forbidden):
                share_by(store, reader, object_grant("acme", key, rights), 60, address=address)  # type: ignore[arg-type]
        counted = holder(store, Grant("acme", ("read",), uses=5))
        for principal in (ANONYMOUS, counted):
            with pytest.raises((Forbidden, Unauthenticated)):
                share_by(store, principal, wanted, 60)
        store.tokens.revoke(reader.credential)
        with pytest.raises(Unauthenticated):
            store.tokens.verify(token_in(link))


def test_an_administrator_issues_within_their_namespace() -> None:
    with holdfast.open(":memory:") as store:
        admin = holder(store, Grant("acme", ALL))
        made = issue_by(store, admin, Grant("acme", ("read",)), name="ci", ttl="5m")
        assert may(store, store.tokens.verify(made.token), Ask("acme", "load", "a"))
        for wanted in (Grant("b", ("read",)), Grant("*", ("read",))):
            with pytest.raises(Forbidden):
                issue_by(store, admin, wanted, name="ci", ttl="5m")
        writer = holder(store, Grant("acme", ("read", "write", "delete")))
        with pytest.raises(Forbidden):
            issue_by(store, writer, Grant("acme", ("read",)), name="ci", ttl="5m")
        operator = holder(store, Grant("*", ALL))
        issue_by(store, operator, Grant("*", ("read",)), name="ci", ttl="5m")
        issue_by(store, operator, Grant("b", ("read",)), name="ci", ttl="5m")


def test_who_may_revoke() -> None:
    with holdfast.open(":memory:") as store:
        admin = holder(store, Grant("acme", ALL))
        other = holder(store, Grant("b", ALL))
        both = store.tokens.mint("x", [Grant("acme", ("read",)), Grant("b", ("read",))], 3_600)
        mine = store.tokens.mint("y", [Grant("acme", ("read",))], 3_600)
        for principal, credential in (
            (other, mine.id),
            (admin, both.id),
            (admin, "ab" * 16),
            (ANONYMOUS, mine.id),
            (ANONYMOUS, ""),
        ):
            with pytest.raises((Forbidden, Unauthenticated)):
                revoke_by(store, principal, credential)
        store.tokens.verify(mine.token)
        revoke_by(store, admin, mine.id)
        revoke_by(store, store.tokens.verify(both.token), both.id)  # one's own
        for made in (mine, both):
            with pytest.raises(Unauthenticated):
                store.tokens.verify(made.token)


def test_signing_needs_no_open_store(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue):
        signing_alone(str(tmp_path), *clock_and_chance())
    with holdfast.open(tmp_path / "data") as store:
        alone = signing_alone(str(tmp_path / "data"), *clock_and_chance())
        token = alone.issue("ci", [Grant("acme", ("read",))], 3_600)
        assert store.tokens.verify(token).name == "ci"


def clock_and_chance() -> tuple[SystemClock, SystemEntropy]:
    return SystemClock(), SystemEntropy()


# -- what a namespace says ---------------------------------------------------------------------


def test_grants_are_set_as_a_whole_and_keep_counting() -> None:
    with holdfast.open(":memory:") as store:
        access = store.access
        image = Principal("enclave", "ab")
        counted = ("enclave:ab", Grant("acme", ("read",), uses=1))
        access.set_grants("acme", [counted])
        assert may(store, image, Ask("acme", "load", "a"))
        access.set_grants("acme", [counted, ("token:x", Grant("acme", ("write",)))])
        assert not may(store, image, Ask("acme", "load", "a"))  # the same grant, used up
        access.set_grants("acme", [])
        access.set_grants("acme", [counted])
        assert may(store, image, Ask("acme", "load", "a"))  # given anew
        assert access.may_see(image, "acme")
        assert not access.may_see(image, "b")


@pytest.mark.parametrize(
    ("error", "to", "grant"),
    [
        (InvalidValue, "", Grant("acme", ("read",))),
        (InvalidValue, "ann", Grant("acme", ("read",))),
        (InvalidValue, "user:a", Grant("b", ("read",))),
        (InvalidValue, "user:a", Grant("*", ("read",))),
        (InvalidValue, "user:a", Grant("acme", ())),
    ],
)
def test_grants_that_cannot_be_meant_change_nothing(
    error: type[Exception], to: str, grant: Grant
) -> None:
    with holdfast.open(":memory:") as store:
        store.access.set_grants("acme", [("user:a", Grant("acme", ("read",)))])
        with pytest.raises(error):
            store.access.set_grants("acme", [(to, grant)])
        assert len(store.access.grants("acme")) == 1


@pytest.mark.parametrize(
    "origin",
    ["app.example", "https://", "https://a/b", "https://A.example", "null", "https://a\n", "*.x"],
)
def test_origins_that_no_browser_sends_are_refused(origin: str) -> None:
    with holdfast.open(":memory:") as store:
        with pytest.raises(InvalidValue):
            store.access.set_origins("acme", [origin])
        store.access.set_origins("acme", ["*", "http://[::1]:80", "https://app.example:8443"])
        assert len(store.access.origins("acme")) == 3


def test_a_namespace_says_so_much_and_no_more() -> None:
    with holdfast.open(":memory:") as store:
        with pytest.raises(LimitExceeded):
            store.access.set_published("acme", [str(number) for number in range(1_001)])
        store.access.set_published("acme", ["a", "b"])
        store.access.unpublish("acme", "a")
        store.access.unpublish("acme", "never")
        assert store.access.published("acme") == ("b",)


def test_another_process_is_heard_of_by_reloading() -> None:
    with holdfast.open(":memory:") as store:
        assert store.access.published("acme") == ()
        StoreRecords(store).put("tenant/acme", msgspec.json.encode({"published": ["x"]}))
        store.access.reload()
        assert store.access.published("acme") == ("x",)


def test_what_was_refused_or_administered_leaves_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "holdfast.audit")
    with holdfast.open(":memory:") as store:
        admin = holder(store, Grant("acme", ALL))
        store.access.decide(admin, Ask("acme", "load", "a"))
        store.access.decide(admin, Ask("acme", "drop", None, 0, "10.0.0.1"))
        with pytest.raises(Forbidden):
            store.access.decide(admin, Ask("b", "load", "a"))
    records = [record for record in caplog.records if record.name == "holdfast.audit"]
    lines = [msgspec.json.decode(record.getMessage()) for record in records]
    assert [record.audit for record in records] == lines  # type: ignore[attr-defined]
    told = [(line["event"], line["operation"], line["namespace"]) for line in lines]
    assert told == [("allowed", "drop", "acme"), ("refused", "load", "b")]
    assert lines[0]["address"] == "10.0.0.1"
    assert lines[1]["reason"] == "namespace"
    assert lines[0]["credential"] == admin.credential


def hammer(store: Store, token: str, ended: Event, late: list[str]) -> None:
    """Verify a token until it is refused; one that counts after the end was said is noted."""
    while not late:
        was_ended = ended.is_set()
        try:
            store.tokens.verify(token)
        except Unauthenticated:
            return
        if was_ended:
            late.append(token)


def test_nobody_gets_in_behind_a_revocation() -> None:
    """Threads verify one token as fast as they can; from the return of revoke on, none succeeds."""
    late: list[str] = []
    with holdfast.open(":memory:") as store:
        for _ in range(20):
            made = store.tokens.mint("ci", [Grant("acme", ("read",))], 3_600)
            ended = Event()
            arguments = (store, made.token, ended, late)
            threads = [Thread(target=hammer, args=arguments) for _ in range(3)]
            for thread in threads:
                thread.start()
            store.tokens.revoke(made.id)
            ended.set()
            for thread in threads:
                thread.join()
    assert not late
