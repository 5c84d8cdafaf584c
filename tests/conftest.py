"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from servers import ServerFactory, start_server

from longvie_server.server import BridgeServer


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
