"""URLs to transports. The libraries behind a transport are only imported when its URL is used."""

from __future__ import annotations

import platform
from typing import Final

from .connection import Connection
from .errors import InvalidValue
from .messages import Hello
from .planes import zstd_available
from .transports.base import ClientTransport

__all__ = ["make_connection"]

_SCHEMES: Final = ("tcp", "ipc", "grpc", "grpcs", "memory")


def make_connection(
    url: str, *, token: str, server_key: str, ca_file: str, timeout_s: float, reconnect_timeout_s: float
) -> Connection:
    """Return a connection that has begun to connect.

    Raises:
        InvalidValue: the URL cannot be read.
    """
    hello = Hello(
        min_version=1,
        max_version=1,
        client=f"longvie-bridge python {platform.python_version()}",
        features=("zstd",) if zstd_available() else (),
        token=token,
    )
    return Connection(
        _make_transport(url, server_key=server_key, ca_file=ca_file),
        url=url,
        hello=hello,
        connect_timeout_s=timeout_s,
        reconnect_timeout_s=reconnect_timeout_s,
    )


def _make_transport(url: str, *, server_key: str, ca_file: str) -> ClientTransport:
    scheme, separator, address = url.partition("://")
    if not separator or not address or scheme not in _SCHEMES:
        raise InvalidValue(
            "cannot be read",
            field="url",
            value=url,
            remedy="Write tcp://host:port (ZeroMQ), grpc://host:port, grpcs://host:port, ipc://path or memory://name.",
        )
    if scheme == "memory":
        from .transports.memory import MemoryTransport

        return MemoryTransport(address)
    if scheme in ("grpc", "grpcs"):
        from .transports.grpc import GrpcTransport

        return GrpcTransport(address, tls=scheme == "grpcs", ca_file=ca_file)
    from .transports.zeromq import CurveKeys, ZeroMQTransport

    return ZeroMQTransport(url, keys=CurveKeys.anonymous(server_key) if server_key else None)
