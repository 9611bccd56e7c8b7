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
    servicer = reflection.aio.ReflectionServicer(shown, _Files(_described(shown)))
    for name in NAMES:
        added = _Named(methods, name)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, added)


class _Files:
    """A pool that knows the methods of its services, too: a tool may ask for one by its name.

    Args:
        pool: knows all else.
    """

    def __init__(self, pool: descriptor_pool.DescriptorPool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else a pool can do
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: ANN401, N802 - protobuf's
        """The file that describes a service, a method, a message or a field; KeyError."""
        service, _, method = symbol.rpartition(".")
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return (
                self._pool.FindServiceByName(service)
                .methods_by_name[method]
                .containing_service.file
            )


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
