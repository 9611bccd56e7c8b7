"""A real server for tests: on a thread of its own, on a loopback port that the system chose."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from holdfast.access.grants import EVERY, RIGHTS
from holdfast.limits import TOKEN_TTL_S
from holdfast.server.serving import Server
from holdfast.server.settings import Settings
from holdfast.values import Grant, Right

if TYPE_CHECKING:
    from holdfast.store.store import Store

WAIT_S = 60.0


class Serving:
    """Serves a store while its context lasts.

    Args:
        store: an open store; it stays open.
        **options: fields of ``holdfast.server.Settings``.

    Example:
        >>> import holdfast
        >>> with holdfast.open(":memory:") as store, Serving(store) as serving:
        ...     serving.url.startswith("http://127.0.0.1:")
        True
    """

    def __init__(self, store: Store, **options: Any) -> None:  # noqa: ANN401 - settings by name
        self._ready = Event()
        self._failure: BaseException | None = None
        settings = Settings(**{"port": 0, "host": "127.0.0.1", **options})
        self.store = store
        self.server = Server(store, settings, started=self._listening)
        self.url = ""
        self.rpc_url = ""
        self._thread = Thread(target=self._run, name="holdfast-serving", daemon=True)

    def token(
        self,
        namespace: str = EVERY,
        rights: Sequence[Right] = RIGHTS,
        **narrowing: Any,  # noqa: ANN401 - fields of Grant
    ) -> str:
        """A token for tests; unless it is said otherwise, one that may do everything."""
        grant = Grant(namespace, tuple(rights), **narrowing)
        return self.store.tokens.issue("test", [grant], TOKEN_TTL_S)

    def _listening(self, url: str) -> None:
        if self.url:
            return  # that of the gRPC door
        self.url = url
        if self.server.rpc is not None:
            self.rpc_url = self.server.rpc.url
        self._ready.set()

    def _run(self) -> None:
        try:
            self.server.run()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            self._failure = error
        finally:
            self._ready.set()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(WAIT_S):
            raise TimeoutError("the server does not listen")
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.stop()
        self._thread.join(WAIT_S)
