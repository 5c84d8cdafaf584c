"""Real servers for tests: a worker process, a front end, sockets on free ports."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from longvie_server.config import load_config
from longvie_server.server import BridgeServer

_names = itertools.count()

ServerFactory = Callable[..., BridgeServer]


def start_server(stack: ExitStack, model: str = "fake:48x80", **flags: Any) -> BridgeServer:
    listen = {"zeromq": "tcp://127.0.0.1:0", "grpc": "127.0.0.1:0", "http": "", **flags.pop("listen", {})}
    config = load_config(None, {"model": {"name": model, "threads": 1}, "listen": listen, **flags})
    return stack.enter_context(BridgeServer(config, memory_name=f"test-{next(_names)}"))


def server_urls(server: BridgeServer) -> dict[str, str]:
    """Return a server's URL per transport."""
    return {
        "memory": f"memory://{server.memory_name}",
        "zeromq": server.zeromq_endpoint,
        "grpc": f"grpc://127.0.0.1:{server.grpc_port}",
    }
