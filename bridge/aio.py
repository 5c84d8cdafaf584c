"""The asyncio client: `bridge.client` with `await` where that one waits. Same arguments, same errors, same laws.

::

    async with await bridge.aio.connect("grpc://gpu-box:5556", token=...) as server:
        async with await server.open(prompt="...", first_frame=image, seed=7) as session:
            async for tick in my_engine:
                await session.send(tick)
            async for frame in session.frames():
                ...

What never waits (`prompt`, `cut`, `finish`, `cancel`) is a plain method. The connection's own thread does all I/O; no
call takes a thread of its own. Frames are decoded on the event loop, one at a time, as they are asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from .connect import make_connection
from .connection import Connection
from .errors import OutOfOrder
from .messages import Open
from .protocol.client import SessionState
from .session import ServerCore, SessionCore, SessionOptions, open_request
from .tick import DepthRange, Frame, Tick, TrackMode, WorldState

__all__ = ["Server", "Session", "connect"]

_GOODBYE_S: Final = 5.0


async def connect(
    url: str,
    *,
    token: str = "",
    server_key: str = "",
    ca_file: str = "",
    timeout_s: float = 30.0,
    reconnect_timeout_s: float = 120.0,
) -> Server:
    """Connect to a server; it may be started later, within the time-out. Arguments and errors: `bridge.connect`."""
    connection = make_connection(
        url,
        token=token,
        server_key=server_key,
        ca_file=ca_file,
        timeout_s=timeout_s,
        reconnect_timeout_s=reconnect_timeout_s,
    )
    server = Server(connection)
    try:
        await server.changes.wait_for(lambda: connection.welcome is not None or connection.error is not None)
        if connection.error is not None:
            raise connection.error
    except BaseException:
        await server.close()
        raise
    return server


class Server(ServerCore):
    """A server that answered. Close it, or use it as a context manager; it belongs to the loop it was made on."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.changes = _Changes(connection)

    async def open(
        self,
        *,
        prompt: str = "",
        first_frame: Any = None,
        seed: int = 0,
        model: str = "",
        negative_prompt: str | None = None,
        tracks: TrackMode | str = TrackMode.SERVER,
        depth_range: DepthRange | None = None,
        fit: str = "",
        frame_encoding: str = "png",
        numerics: Mapping[str, str] | None = None,
        continue_from: WorldState | None = None,
        first_tick: int = 0,
        record: bool = False,
        options: SessionOptions | None = None,
    ) -> Session:
        """Open a session. Arguments and errors: `bridge.client.Server.open`."""
        request = open_request(
            prompt=prompt,
            first_frame=first_frame,
            continue_from=continue_from,
            model=model,
            seed=seed,
            negative_prompt=negative_prompt,
            tracks=tracks,
            depth_range=depth_range,
            fit=fit,
            frame_encoding=frame_encoding,
            numerics=numerics or {},
            first_tick=first_tick,
            record=record,
        )
        session = Session(self._connection, self.changes, request, options or SessionOptions())
        await session._open()
        return session

    async def close(self) -> None:
        """Close the connection; sessions that are not over are kept by the server for a while, then dropped."""
        # Waits for the connection's thread, which may need a second to send what is left.
        await asyncio.shield(asyncio.to_thread(self._connection.close))
        self.changes.close()

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Session(SessionCore):
    """One video in the making. Close it, or use it as a context manager: leaving it with an error cancels it.

    One task may send while another reads.
    """

    def __init__(self, connection: Connection, changes: _Changes, request: Open, options: SessionOptions) -> None:
        super().__init__(connection, request, options)
        self._changes = changes

    async def send(self, tick: Tick) -> None:
        """Send the next tick; waits while the server has no room for it.

        Arrays are copied unless they are read-only, so an engine may reuse its buffers.

        Raises:
            OutOfOrder: it is not the next tick, or the session takes none now.
            ServerError, ConnectionLost: the session has failed.
        """
        while not self._try_send(tick):
            await self._wait(lambda: self._client.may_send_tick or self._client.state is not SessionState.OPEN)
        self._record(tick)
        await asyncio.sleep(0)  # a loop that sends as fast as it can lets the others have their turn

    async def frames(self, *, finish: bool = True) -> AsyncIterator[Frame]:
        """Yield frames in order, each once, until the last.

        Args:
            finish: say first that no tick follows. Pass False in a task that reads while another one sends; it ends
                when that one has called `finish()`.

        Raises:
            ServerError, ConnectionLost: the session has failed; all frames that had arrived were yielded before.
        """
        if finish:
            self.finish()
        while True:
            await self._wait(lambda: len(self._spool) > 0 or self._over)
            with self._connection.changed:
                message = self._take_frame()
            if message is None:
                return
            yield self._deliver(message)

    async def wait_until(self, condition: Callable[[Session], bool], *, timeout_s: float | None = None) -> bool:
        """Wait until `condition(session)` holds, looking again after every change; False on time-out or at the end."""
        await self._changes.wait_for(lambda: condition(self) or self._over, timeout_s)
        with self._connection.changed:
            return condition(self)

    async def close(self) -> None:
        """End the session; one that is not finished is cancelled."""
        if self._closed:
            return
        self._closed = True
        connection = self._connection
        try:
            with connection.changed:
                running = not self._over
                if running:
                    self.cancel()
            if running:
                await self._changes.wait_for(lambda: self._over or not connection.connected, _GOODBYE_S)
        finally:
            with connection.changed:
                self._end()

    async def _open(self) -> None:
        with self._connection.changed:
            self._connection.add(self._client)
        try:
            await self._wait(lambda: self._client.state is not SessionState.OPENING)
            if self._client.error is not None:
                raise self._client.error
            self._start_recording()
        except BaseException:
            await self.close()
            raise

    def _try_send(self, tick: Tick) -> bool:
        with self._connection.changed:
            return self._send_now(tick)

    async def _wait(self, condition: Callable[[], bool]) -> None:
        if self._closed:
            raise OutOfOrder("the session is closed", field="session", remedy="Open another one.")
        await self._changes.wait_for(condition)

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Changes:
    """A connection's changes, as an event loop hears of them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[None]] = set()
        self._told = False
        connection.listen(self._changed)

    async def wait_for(self, condition: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Wait until a condition holds, as it is seen under the connection's lock; False on time-out."""
        deadline = None if timeout_s is None else self._loop.time() + timeout_s
        while True:
            # Wait first, look then: a change in between is not missed.
            change = self._loop.create_future()
            self._waiting.add(change)
            try:
                with self._connection.changed:
                    if condition():
                        return True
                left_s = None if deadline is None else deadline - self._loop.time()
                await asyncio.wait_for(change, left_s)
            except asyncio.TimeoutError:
                return False
            finally:
                self._waiting.discard(change)

    def close(self) -> None:
        """Hear no more."""
        self._connection.unlisten(self._changed)

    def _changed(self) -> None:
        # On the connection's thread, with its lock held. One call wakes all; a loop that is closed needs none.
        if not self._told:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake)
                self._told = True

    def _wake(self) -> None:
        with self._connection.changed:
            self._told = False
        for change in self._waiting:
            if not change.done():
                change.set_result(None)
