"""Reflection: which services there are, and of what messages.

It is served as ``grpc.reflection.v1`` and as the ``v1alpha`` before it, which older tools ask
for. Both have the same messages by different names; the library brings the older ones only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from holdfast.server.http2.methods import Generated, Methods

NAMES: Final = ("grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME)


def add_reflection(methods: Methods, names: Iterable[str]) -> None:
    """Have services shown, and reflection itself.

    Args:
        methods: are added to.
        names: of the other services; the files that describe them are known to this process.
    """
    shown = [*names, *NAMES]
    servicer = reflection.aio.ReflectionServicer(shown, _described(shown))
    for name in NAMES:
        added = _Named(methods, name)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, added)


class _Named(Generated):
    """Adds a generated service by another name."""

    def __init__(self, methods: Methods, name: str) -> None:
        super().__init__(methods)
        self._name = name

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:  # noqa: ANN401, ARG002 - grpc's
        super().add_registered_method_handlers(self._name, handlers)


def _described(names: Iterable[str]) -> descriptor_pool.DescriptorPool:
    """The files of services, and no other that a program around the server may have loaded."""
    known, told = descriptor_pool.Default(), descriptor_pool.DescriptorPool()
    told.AddSerializedFile(_stable_file())
    for name in names:
        if name != NAMES[0]:
            _copy(known.FindFileContainingSymbol(name), told)
    return told


def _copy(file: Any, told: descriptor_pool.DescriptorPool) -> None:  # noqa: ANN401 - without types
    for needed in file.dependencies:
        _copy(needed, told)
    told.AddSerializedFile(file.serialized_pb)


def _stable_file() -> bytes:
    """The file of v1, which differs from that of v1alpha by its names alone."""
    older = descriptor_pb2.FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    told = text_format.MessageToString(older).replace("v1alpha", "v1")
    file = text_format.Parse(told, descriptor_pb2.FileDescriptorProto())
    file.name = "grpc/reflection/v1/reflection.proto"
    file.options.ClearField("deprecated")
    written: bytes = file.SerializeToString()
    return written
