"""Policies of the operator: pure functions that are asked after the grants and can only refuse.

A package offers one under the entry-point group ``holdfast.policies``:

    def decide(principal, operation, attributes) -> Allow | Deny: ...

``attributes`` has ``namespace``, ``key``, ``size_bytes`` and ``address``, as ``Ask`` has
them. All that are installed are asked; one that raises, answers anything but ``Allow``, or
cannot be loaded, refuses.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points

import msgspec

from holdfast.access.grants import Ask
from holdfast.values import Principal

GROUP = "holdfast.policies"
logger = logging.getLogger("holdfast.access")


class Allow(msgspec.Struct, frozen=True):
    """The policy has nothing against it."""


class Deny(msgspec.Struct, frozen=True):
    """The policy refuses, for a ``reason`` that the caller is told."""

    reason: str


Attributes = Mapping[str, object]
Policy = Callable[[Principal, str, Attributes], Allow | Deny]


def load_policies(group: str = GROUP) -> tuple[Policy, ...]:
    """Every policy that is installed, in the order of their names."""
    return tuple(
        _load(point.name, point.load)
        for point in sorted(entry_points(group=group), key=lambda point: point.name)
    )


def _load(name: str, load: Callable[[], object]) -> Policy:
    try:
        policy = load()
    except Exception:  # a policy that cannot be asked must not be passed over
        logger.exception("the policy %s cannot be loaded: everything is refused", name)
        return _refuse
    return policy if callable(policy) else _refuse


def _refuse(principal: Principal, operation: str, attributes: Attributes) -> Deny:  # noqa: ARG001
    return Deny("a policy cannot be loaded")


def refusal(policies: Sequence[Policy], principal: Principal, ask: Ask) -> str | None:
    """Why the first policy that is against it refuses, or None."""
    attributes = {
        "namespace": ask.namespace,
        "key": ask.key,
        "size_bytes": ask.size_bytes,
        "address": ask.address,
    }
    for policy in policies:
        try:
            answer: object = policy(principal, ask.operation, dict(attributes))
        except Exception:  # it failed, so it did not allow
            logger.exception("a policy failed: the request is refused")
            return "a policy failed"
        if not isinstance(answer, Allow):
            return answer.reason if isinstance(answer, Deny) else "a policy gave no answer"
    return None
