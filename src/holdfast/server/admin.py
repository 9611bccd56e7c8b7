"""What is asked seldom: namespaces, rights, the operation of the store, documents.

One table; each entry is a function from what was asked to the answer, run on a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from holdfast.access.grants import Ask
from holdfast.errors import InvalidValue
from holdfast.identity.tokens import Noted
from holdfast.server.answers import Answer, gone, told
from holdfast.server.listing import flag
from holdfast.server.metrics import text_of
from holdfast.server.searching import options_of
from holdfast.server.whole import Whole
from holdfast.store.tenancy import issue_by, object_grant, revoke_by, share_by
from holdfast.values import Grant, Principal, Right, SearchRules
from holdfast.wire.values import Form, decode

if TYPE_CHECKING:
    from holdfast.server.site import Site
    from holdfast.store.store import Store

T = TypeVar("T")
MODES: dict[str, Literal["auto", "copying", "compacting"]] = {
    "auto": "auto",
    "copying": "copying",
    "compacting": "compacting",
}
NO_PARAMETERS: Mapping[str, str] = {}
PROMETHEUS = b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"


class Asked(msgspec.Struct, frozen=True):
    """A request that is whole: who asks, from where, with which body and parameters."""

    site: Any
    principal: Principal
    body: bytes
    address: str
    form: Form = "json"
    path: Mapping[str, str] = NO_PARAMETERS
    query: Mapping[str, str] = NO_PARAMETERS

    def with_parameters(self, path: Mapping[str, str], query: Mapping[str, str]) -> Asked:
        """The same, with what the path and the query say."""
        return msgspec.structs.replace(self, path=dict(path), query=dict(query))

    @property
    def store(self) -> Store:
        """The store that is served."""
        site: Site = self.site
        return site.store

    @property
    def whole(self) -> Store | Whole:
        """All of it, where other processes hold parts of it too."""
        site: Site = self.site
        return site.whole

    @property
    def namespace(self) -> str:
        """The namespace in the path."""
        return self.path["namespace"]

    def may(self, operation: str, namespace: str = "") -> None:
        """Return where the caller may; Unauthenticated or Forbidden where not."""
        site: Site = self.site
        site.door.allow(self.principal, Ask(namespace, operation, None, 0, self.address))

    def read(self, kind: type[T]) -> T:
        """The body, as JSON of a kind."""
        return decode(self.body, kind)

    def tell(self, value: object) -> Answer:
        """A value as the answer."""
        return told(value, self.form)


Handle = Callable[[Asked], Answer]


class Admin(msgspec.Struct, frozen=True):
    """One route: ``path`` as Starlette reads it."""

    method: str
    path: str
    handle: Handle
    summary: str
    answers: int = 200


# -- namespaces and rights -------------------------------------------------------------------


class Holding(msgspec.Struct, forbid_unknown_fields=True):
    """A grant, and whom it is given to."""

    to: str
    grant: Grant


class Grants(msgspec.Struct, forbid_unknown_fields=True):
    """What a namespace gives."""

    grants: list[Holding]


class Prefixes(msgspec.Struct, forbid_unknown_fields=True):
    """What anyone may read."""

    prefixes: list[str]


class Origins(msgspec.Struct, forbid_unknown_fields=True):
    """Where a browser may ask from."""

    origins: list[str]


class Share(msgspec.Struct, forbid_unknown_fields=True):
    """A link that is wanted."""

    key: str
    ttl: float | int | str
    rights: list[Right] = msgspec.field(default_factory=lambda: ["read"])
    uses: int | None = None


class NewToken(msgspec.Struct, forbid_unknown_fields=True):
    """A token that is wanted; what follows ``name`` narrows it as the fields of a grant do."""

    namespace: str
    rights: tuple[Right, ...]
    ttl: float | int | str
    name: str
    prefix: str = ""
    operations: tuple[str, ...] | None = None
    until_ns: int | None = None
    bytes_max: int | None = None
    uses: int | None = None
    networks: tuple[str, ...] = ()
    key: str | None = None


class MadeToken(msgspec.Struct):
    """A token that was made: what it is shown by, what it is named by, until when it counts."""

    token: str
    id: str
    until_ns: int


class Listed(msgspec.Struct):
    """Tokens that were noted; never what they are shown by."""

    tokens: list[Noted]


def namespaces(asked: Asked) -> Answer:
    """Those that hold something and that the caller may read."""
    asked.may("namespaces")
    access = asked.store.access
    seen = [n for n in asked.store.namespaces() if access.may_see(asked.principal, n)]
    return asked.tell({"namespaces": seen})


def drop(asked: Asked) -> Answer:
    """Remove everything in a namespace."""
    asked.may("drop", asked.namespace)
    asked.store.drop_namespace(asked.namespace)
    return gone()


def grants(asked: Asked) -> Answer:
    """What a namespace gives to others."""
    asked.may("grants", asked.namespace)
    return _grants(asked)


def set_grants(asked: Asked) -> Answer:
    """Give exactly these."""
    asked.may("grants.set", asked.namespace)
    wanted = asked.read(Grants).grants
    pairs = [(one.to, one.grant) for one in wanted]
    asked.store.access.set_grants(asked.namespace, pairs)
    return _grants(asked)


def _grants(asked: Asked) -> Answer:
    given = asked.store.access.grants(asked.namespace)
    return asked.tell(Grants([Holding(one.to, one.grant) for one in given]))


def published(asked: Asked) -> Answer:
    """The prefixes that anyone may read."""
    asked.may("published", asked.namespace)
    return asked.tell(Prefixes(list(asked.store.access.published(asked.namespace))))


def publish(asked: Asked) -> Answer:
    """Publish exactly these prefixes."""
    asked.may("publish", asked.namespace)
    asked.store.access.set_published(asked.namespace, asked.read(Prefixes).prefixes)
    return asked.tell(Prefixes(list(asked.store.access.published(asked.namespace))))


def origins(asked: Asked) -> Answer:
    """Which origins a browser may ask from."""
    asked.may("cors", asked.namespace)
    return asked.tell(Origins(list(asked.store.access.origins(asked.namespace))))


def set_origins(asked: Asked) -> Answer:
    """Let browsers ask from exactly these."""
    asked.may("cors.set", asked.namespace)
    asked.store.access.set_origins(asked.namespace, asked.read(Origins).origins)
    return asked.tell(Origins(list(asked.store.access.origins(asked.namespace))))


def index_rules(asked: Asked) -> Answer:
    """What of a namespace is searched."""
    asked.may("index.rules", asked.namespace)
    return asked.tell(asked.store.namespace(asked.namespace).index_rules())


def set_index_rules(asked: Asked) -> Answer:
    """Search exactly this."""
    asked.may("index.rules.set", asked.namespace)
    rules = asked.read(SearchRules)
    space = asked.store.namespace(asked.namespace)
    return asked.tell(space.index_rules(rules.rules, language=rules.language, keys=rules.keys))


def search_all(asked: Asked) -> Answer:
    """What a query finds, whose namespace it is in."""
    asked.may("search.all")
    wanted = options_of(asked.query)
    options = {name: wanted[name] for name in ("limit", "rank")}
    return asked.tell(asked.store.search(asked.query.get("query", ""), **options))


def share(asked: Asked) -> Answer:
    """A link to one object, of what the caller may do with it."""
    wanted = asked.read(Share)
    grant = object_grant(asked.namespace, wanted.key, wanted.rights, wanted.uses)
    site: Site = asked.site
    base = asked.store.base_url or site.url
    url = share_by(
        asked.store, asked.principal, grant, wanted.ttl, address=asked.address, base=base
    )
    return asked.tell({"url": url})


def issue(asked: Asked) -> Answer:
    """A token of no more than the caller administers."""
    wanted = asked.read(NewToken)
    fields = msgspec.structs.asdict(wanted)
    name, ttl = fields.pop("name"), fields.pop("ttl")
    made = issue_by(
        asked.store, asked.principal, Grant(**fields), name=name, ttl=ttl, address=asked.address
    )
    return asked.tell(MadeToken(made.token, made.id, made.until_ns))


def issued(asked: Asked) -> Answer:
    """Tokens and links that have not ended: all, or those of one namespace alone."""
    name = asked.query.get("namespace", "")
    asked.may("tokens.list", name)
    found = asked.store.tokens.issued()
    if name:
        found = [one for one in found if all(grant.namespace == name for grant in one.grants)]
    return asked.tell(Listed(found))


def revoke(asked: Asked) -> Answer:
    """End a token."""
    revoke_by(asked.store, asked.principal, asked.path["id"], address=asked.address)
    return gone()


# -- operation ---------------------------------------------------------------------------------


class Backup(msgspec.Struct, forbid_unknown_fields=True):
    """Where a backup goes."""

    path: str


def status(asked: Asked) -> Answer:
    """Every bucket's figures."""
    asked.may("status")
    return asked.tell(asked.whole.status())


def check(asked: Asked) -> Answer:
    """Verify every byte."""
    asked.may("check")
    return asked.tell(asked.whole.check(repair=flag(asked.query, "repair", default=False)))


def collect(asked: Asked) -> Answer:
    """Give dead bytes' space back."""
    asked.may("collect")
    mode = MODES.get(asked.query.get("mode", "auto"))
    if mode is None:
        raise InvalidValue(argument="mode", reason="auto, copying or compacting")
    return asked.tell(asked.whole.collect(mode))


def rebuild(asked: Asked) -> Answer:
    """Derive every view again."""
    asked.may("rebuild")
    asked.whole.rebuild()
    return gone()


def tick(asked: Asked) -> Answer:
    """Run upkeep that is due."""
    asked.may("tick")
    text = asked.query.get("budget_s", "0.05")
    try:
        budget_s = float(text)
    except ValueError:
        budget_s = -1.0
    if not 0 <= budget_s <= MOST_BUDGET_S:
        raise InvalidValue(argument="budget_s", reason="0 to 60")
    asked.whole.tick(budget_s)
    return gone()


def flush(asked: Asked) -> Answer:
    """Make everything durable; what failed since last time."""
    asked.may("flush")
    return asked.tell({"dead_letters": asked.whole.flush()})


def dead_letters(asked: Asked) -> Answer:
    """Every queued write that could not be stored."""
    asked.may("dead_letters")
    return asked.tell({"dead_letters": asked.whole.dead_letters()})


def backup(asked: Asked) -> Answer:
    """Copy the store into a folder of the server's machine."""
    asked.may("backup")
    path = asked.read(Backup).path
    if not path or "\0" in path:
        raise InvalidValue(argument="path", reason="not a folder's name")
    asked.whole.backup(path)
    return gone()


def metrics(asked: Asked) -> Answer:
    """What Prometheus reads, of all processes that serve the store."""
    asked.may("metrics")
    site: Site = asked.site
    whole = site.whole
    figures = whole.figures() if isinstance(whole, Whole) else [site.metrics.figures()]
    return Answer(200, PROMETHEUS, text_of(figures))


def openapi(asked: Asked) -> Answer:
    """This very list, as OpenAPI 3.1."""
    from holdfast.server.openapi import document  # noqa: PLC0415 - it reads this table

    asked.may("openapi")
    site: Site = asked.site
    return told(document(site.routes))


MOST_BUDGET_S = 60
SPACE = "/v1/namespaces/{namespace}"
ADMIN = (
    Admin("GET", "/v1/namespaces", namespaces, "Namespaces that hold something"),
    Admin("DELETE", SPACE, drop, "Remove everything in a namespace", 204),
    Admin("GET", f"{SPACE}/grants", grants, "What a namespace gives, to whom"),
    Admin("PUT", f"{SPACE}/grants", set_grants, "Give exactly these"),
    Admin("POST", f"{SPACE}/share", share, "A link to an object"),
    Admin("GET", f"{SPACE}/published", published, "What anyone may read"),
    Admin("PUT", f"{SPACE}/published", publish, "Publish exactly these prefixes"),
    Admin("GET", f"{SPACE}/cors", origins, "Where browsers may ask from"),
    Admin("PUT", f"{SPACE}/cors", set_origins, "Let browsers ask from exactly these"),
    Admin("GET", f"{SPACE}/index-rules", index_rules, "What is searched"),
    Admin("PUT", f"{SPACE}/index-rules", set_index_rules, "Search exactly this"),
    Admin("GET", "/v1/search", search_all, "What a query finds in all namespaces"),
    Admin("GET", "/v1/tokens", issued, "Tokens and links that have not ended"),
    Admin("POST", "/v1/tokens", issue, "Make a token"),
    Admin("DELETE", "/v1/tokens/{id}", revoke, "End a token", 204),
    Admin("GET", "/v1/status", status, "Every bucket's figures"),
    Admin("POST", "/v1/check", check, "Verify every byte"),
    Admin("POST", "/v1/collect", collect, "Give dead bytes' space back"),
    Admin("POST", "/v1/rebuild", rebuild, "Derive every view again", 204),
    Admin("POST", "/v1/tick", tick, "Run upkeep that is due", 204),
    Admin("POST", "/v1/flush", flush, "Make everything durable"),
    Admin("GET", "/v1/dead-letters", dead_letters, "Queued writes that could not be stored"),
    Admin("POST", "/v1/backup", backup, "Copy the store into a folder of the server", 204),
    Admin("GET", "/metrics", metrics, "What Prometheus reads"),
    Admin("GET", "/openapi.json", openapi, "This list, as OpenAPI 3.1"),
)
