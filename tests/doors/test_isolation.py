"""Two tenants at each other's throats: not one byte of either reaches the other (push ring).

Both have every right in their own namespace and use it against the other's: names, keys that
look like paths into it, lists and cursors, locks, batches, buckets asked directly. Values,
keys and lock ids of the victim carry a mark; no answer to the attacker may hold it, none may
be a failure of the server, and the victim's objects are at the end what they were.
"""

from __future__ import annotations

import http.client
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

import holdfast
from holdfast.store import Store
from holdfast.testing.serving import Serving
from holdfast.values import Grant
from holdfast.wire.batch import Batch, Call, Verb, decode_results, encode_batch

REQUESTS = 4_000
KEYS = 120
MARK = {"acme": "ACMESECRET", "acme2": "SECONDSECRET"}
OTHER = {"acme": "acme2", "acme2": "acme"}
VALUE = 1_500
CALM = {200, 201, 204, 206, 304, 400, 401, 403, 404, 405, 409, 412, 413, 416, 421, 422, 423}


def secrets_of(tenant: str) -> tuple[bytes, ...]:
    """What only the tenant's own objects hold; nobody ever asks with it."""
    return f"{tenant}-payload-".encode(), f"{tenant}-user".encode(), f"{tenant}-hidden-".encode()


def value_of(tenant: str, number: int) -> bytes:
    return (secrets_of(tenant)[0] + b"%d" % number).ljust(VALUE, b".")


def key_of(tenant: str, number: int) -> str:
    return f"{MARK[tenant]}/{number % 7}/{number:03d}"


def fill(store: Store) -> None:
    for tenant in OTHER:
        space, user = store.namespace(tenant), f"{tenant}-user"
        for number in range(KEYS):
            space.put(key_of(tenant, number), value_of(tenant, number), consumers=[user])
            space.put(f"{tenant}-hidden-{number}", b"")


@dataclass
class Attacker:
    """One tenant's way into the server, and what came back."""

    serving: Serving
    tenant: str
    chance: random.Random
    statuses: Counter[int] = field(default_factory=Counter)

    others: list[str] = field(default_factory=lambda: ["ab" * 16])  # ids of others' tokens
    last: int = 0

    def __post_init__(self) -> None:
        host, _, port = self.serving.url.removeprefix("http://").partition(":")
        self.line = http.client.HTTPConnection(host, int(port), timeout=60)
        self.token = self.serving.token(self.tenant)

    def close(self) -> None:
        self.line.close()

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """One request; everything that came back, headers too."""
        told = {"Authorization": f"Bearer {self.token}"}
        told |= {name.replace("_", "-"): text for name, text in headers.items()}
        self.line.request(method, path, body or None, told)
        answer = self.line.getresponse()
        content = answer.read()
        self.last = answer.status
        self.statuses[answer.status] += 1
        assert answer.status in CALM, (method, path, answer.status, content)
        head = "\n".join(f"{name}: {text}" for name, text in answer.getheaders())
        return head.encode() + b"\n" + content

    def spell(self, victim: str) -> str:
        """The victim's name, or something that might be taken for it."""
        return self.chance.choice(
            [
                *[victim] * 12,
                f"{self.tenant}/../{victim}",
                f"{self.tenant}%2F..%2F{victim}",
                f"{victim}%00",
                f"{victim}%00{key_of(victim, 1)[:4]}",
                f"%61{victim[1:]}",
                f"{self.tenant}%00{victim}",
                f"{self.tenant}%01",
                "*",
                "%2A",
                "!holdfast",
                "%21holdfast",
            ]
        )

    def key(self, victim: str) -> str:
        """A key of the victim's, or a way to say one from here."""
        key = quote(key_of(victim, self.chance.randrange(KEYS)), safe="/")
        return self.chance.choice(
            [key, key, f"../../{victim}/objects/{key}", f"%00{key}", f"{victim}%00{key}", f"/{key}"]
        )


def strike(one: Attacker, victim: str) -> tuple[str, bytes]:
    """One attempt to reach a victim's bytes through one of the ways in; which, and the answer."""
    chance = one.chance
    space = f"/v1/namespaces/{one.spell(victim)}"
    key = one.key(victim)
    ways = {
        "get": lambda: one.ask("GET", f"{space}/objects/{key}"),
        "head": lambda: one.ask("HEAD", f"{space}/objects/{key}"),
        "range": lambda: one.ask("GET", f"{space}/objects/{key}", Range="bytes=0-20"),
        "put": lambda: one.ask("PUT", f"{space}/objects/{key}", b"defaced"),
        "append": lambda: one.ask("POST", f"{space}/append/{key}", b"defaced"),
        "delete": lambda: one.ask("DELETE", f"{space}/objects/{key}"),
        "stat": lambda: one.ask("GET", f"{space}/stat/{key}"),
        "exists": lambda: one.ask("GET", f"{space}/exists/{key}"),
        "list": lambda: one.ask("GET", f"{space}/objects?prefix=&details=true"),
        "consumers": lambda: one.ask("GET", f"{space}/consumers/{key}"),
        "lock": lambda: one.ask("POST", f"{space}/locks/{key}", b'{"ttl": 30}'),
        "unlock": lambda: one.ask("DELETE", f"{space}/locks/{key}", b'{"lock_id": ""}'),
        "release": lambda: one.ask("POST", f"{space}/release/{key}"),
        "batch": lambda: one.ask("POST", f"{space}/batch", calls(victim, chance)),
        "own list": lambda: own_list(one, victim),
        "own batch": lambda: one.ask(
            "POST", f"/v1/namespaces/{one.tenant}/batch", calls(victim, chance)
        ),
        "locate": lambda: one.ask("GET", f"/v1/locate?namespace={one.spell(victim)}&key={key}"),
        "direct": lambda: direct(one, victim, key),
        "query": lambda: one.ask("GET", f"/v1/namespaces/{one.tenant}/objects/{key}?grant=a.b.c"),
    }
    way = chance.choice(sorted(ways))
    return way, ways[way]()


def seize(one: Attacker, victim: str) -> int:
    """One attempt to get hold of a victim's rights, or of the store; the status."""
    space = f"/v1/namespaces/{victim}"
    mine = f"/v1/namespaces/{one.tenant}"
    grant = {"namespace": victim, "rights": ["admin"]}
    me = f"token:{one.serving.store.tokens.verify(one.token).credential}"
    given = {"grants": [{"to": me, "grant": grant}]}
    wide = {**grant, "namespace": "*"}
    token = {"ttl": "1h", "name": "mine"}
    ways: list[tuple[str, str, object]] = [
        ("DELETE", space, None),
        ("DELETE", "/v1/namespaces/%21holdfast", None),
        ("GET", f"{space}/grants", None),
        ("PUT", f"{space}/grants", given),
        ("PUT", f"{mine}/grants", given),
        ("PUT", f"{mine}/grants", {"grants": [{"to": me, "grant": wide}]}),
        ("GET", f"{space}/published", None),
        ("PUT", f"{space}/published", {"prefixes": [""]}),
        ("PUT", f"{space}/cors", {"origins": ["*"]}),
        ("POST", f"{space}/share", {"key": key_of(victim, 1), "ttl": 60}),
        ("POST", "/v1/tokens", {**grant, **token}),
        ("POST", "/v1/tokens", {**wide, **token}),
        ("POST", "/v1/tokens", {**grant, **token, "until_ns": 1, "via": []}),
        ("DELETE", f"/v1/tokens/{one.chance.choice(one.others)}", None),
        *[("POST", f"/v1/{name}", None) for name in ("check", "collect", "rebuild", "flush")],
        *[("GET", f"/v1/{name}", None) for name in ("status", "dead-letters")],
        ("POST", "/v1/backup", {"path": "/tmp/never"}),  # noqa: S108 - it is refused
        ("GET", "/metrics", None),
    ]
    method, path, body = one.chance.choice(ways)
    one.ask(method, path, b"" if body is None else json.dumps(body).encode())
    return one.last


def calls(victim: str, chance: random.Random) -> bytes:
    key = key_of(victim, chance.randrange(KEYS))
    verbs: list[tuple[Verb, dict[str, Any] | None]] = [
        ("load", None),
        ("stat", None),
        ("exists", None),
        ("delete", {"missing_ok": True}),
        ("consumers", {"action": "list"}),
    ]
    asked = [Call(verb, f"../{victim}/{key}", given) for verb, given in verbs]
    return encode_batch(Batch(atomic=chance.random() < 0.2, operations=asked))


def own_list(one: Attacker, victim: str) -> bytes:
    """A list of one's own namespace, with prefixes and cursors that point beyond its end."""
    beyond = one.chance.choice(["%FF", "%F4%8F%BF%BF", f"{victim}", "%00", "%01", "..", "~"])
    query = one.chance.choice(["prefix", "after"])
    more = one.chance.choice(["", "&by=component", "&recursive=false", "&details=true"])
    return one.ask("GET", f"/v1/namespaces/{one.tenant}/objects?{query}={beyond}{more}")


def direct(one: Attacker, victim: str, key: str) -> bytes:
    """Ask a bucket that holds the victim's keys, for them and for one's own."""
    bucket = one.chance.choice(one.serving.store.status().buckets).id
    space = one.chance.choice([one.spell(victim), one.tenant])
    noun = one.chance.choice(["objects", "stat"])
    method = one.chance.choice(["GET", "PUT"]) if noun == "objects" else "GET"
    path = f"/v1/buckets/{bucket}/namespaces/{space}/{noun}/{key}"
    return one.ask(method, path, b"defaced" if method == "PUT" else b"")


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    with holdfast.open(":memory:", bucket_bytes=64 << 10, sync="never") as store:
        fill(store)
        assert len(store.status().buckets) > 3
        with Serving(store) as running:
            yield running


@pytest.mark.parametrize("tenant", sorted(MARK))
def test_no_byte_crosses(serving: Serving, tenant: str) -> None:
    victim = OTHER[tenant]
    with closing(Attacker(serving, tenant, random.Random(len(tenant)))) as one:
        for number in range(REQUESTS):
            way, told = strike(one, victim)
            # What was asked may be told back (a key that is not there); what was stored may not.
            assert not [secret for secret in secrets_of(victim) if secret in told], (number, way)
    space = serving.store.namespace(victim)
    assert list(space.list(MARK[victim])) == sorted(key_of(victim, n) for n in range(KEYS))
    for number in range(KEYS):
        key = key_of(victim, number)
        assert space.get(key) == value_of(victim, number)
        assert list(space.consumers(key).list()) == [f"{victim}-user"]
        space.lock(key).release()  # nobody holds it
    assert one.statuses[403] > REQUESTS / 10
    assert one.statuses[404] + one.statuses[422] > REQUESTS / 50


@pytest.mark.parametrize("tenant", sorted(MARK))
def test_no_right_crosses(serving: Serving, tenant: str) -> None:
    victim, tokens = OTHER[tenant], serving.store.tokens
    theirs = tokens.mint("theirs", [Grant(victim, ("read",))], 600)
    operator = tokens.mint("operator", [Grant("*", ("admin",))], 600)
    with closing(Attacker(serving, tenant, random.Random(7))) as one:
        one.others += [theirs.id, operator.id]
        for _ in range(600):
            assert seize(one, victim) in {400, 403, 404, 422}
        one.ask("GET", f"/v1/namespaces/{victim}/objects/{key_of(victim, 1)}")
        assert one.last == 403
        assert f'["{tenant}"]' in one.ask("GET", "/v1/namespaces").decode()
    access = serving.store.access
    for name in MARK:
        assert (access.grants(name), access.published(name), access.origins(name)) == ((), (), ())
    for made in (theirs, operator):
        assert tokens.verify(made.token).credential == made.id
    assert victim in serving.store.namespaces()


def test_places_are_cut_to_the_callers_namespace(serving: Serving) -> None:
    for tenant in MARK:
        with closing(Attacker(serving, tenant, random.Random(1))) as one:
            for number in range(KEYS):
                raw = one.ask("GET", f"/v1/locate?namespace={tenant}&key={key_of(tenant, number)}")
                place = json.loads(raw[raw.index(b"\n{") :])
                for bound in (place["start"], place["stop"]):
                    assert bound is None or bound[0] == tenant
                assert MARK[OTHER[tenant]].encode() not in raw


def test_a_tenants_batch_has_its_own_answers_only(serving: Serving) -> None:
    asked = [Call("load", "acme2-hidden-1", None), Call("load", key_of("acme", 1), None)]
    body = encode_batch(Batch(atomic=False, operations=asked))
    with closing(Attacker(serving, "acme", random.Random(1))) as one:
        raw = one.ask("POST", "/v1/namespaces/acme/batch", body)
    there, mine = decode_results(raw[raw.index(b"\n\x92") + 1 :], asked)
    assert isinstance(there, holdfast.NotFound)
    assert mine == value_of("acme", 1)


def test_a_credential_that_does_not_verify_leaves_a_line(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Attacker(serving, "acme", random.Random(1))) as one:
        one.token = "forged"  # noqa: S105 - it opens nothing
        one.ask("GET", "/v1/namespaces/acme/objects/a")
    (line,) = [json.loads(r.getMessage()) for r in caplog.records if r.name == "holdfast.audit"]
    assert (line["event"], line["reason"]) == ("refused", "malformed")
    assert line["address"] == "127.0.0.1"
    assert "forged" not in str(line)
