"""Real servers for tests: a worker process, a front end, sockets on free ports."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from longvie_server.config import load_config
from longvie_server.server import BridgeServer

_names = itertools.count()

ServerFactory = Callable[..., BridgeServer]


def start_server(stack: ExitStack, model: str = "fake:48x80", **flags: Any) -> BridgeServer:
    listen = {"zeromq": "tcp://127.0.0.1:0", "grpc": "127.0.0.1:0", "http": "", **flags.pop("listen", {})}
    config = load_config(None, {"model": {"name": model, "threads": 1}, "listen": listen, **flags})
    return stack.enter_context(BridgeServer(config, memory_name=f"test-{next(_names)}"))


@pytest.fixture(scope="session")
def fake_server() -> Iterator[BridgeServer]:
    """A server with the fake model, 48 x 80, shared by tests that do it no harm."""
    with ExitStack() as stack:
        yield start_server(stack)


@pytest.fixture
def new_server() -> Iterator[ServerFactory]:
    """Start servers of one's own: `new_server(model=..., listen=..., session=...)`."""
    with ExitStack() as stack:
        yield lambda *args, **flags: start_server(stack, *args, **flags)


def server_urls(server: BridgeServer) -> dict[str, str]:
    """Return a server's URL per transport."""
    return {
        "memory": f"memory://{server.memory_name}",
        "zeromq": server.zeromq_endpoint,
        "grpc": f"grpc://127.0.0.1:{server.grpc_port}",
    }
