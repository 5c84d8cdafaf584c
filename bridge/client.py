"""The blocking client: `connect`, then `open`, then `send` and `frames`.

::

    with bridge.connect("tcp://gpu-box:5555", token=...) as server:
        with server.open(prompt="...", first_frame=image, seed=7) as session:
            for tick in my_engine:
                session.send(tick)
            for frame in session.frames():
                ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

from .connect import make_connection
from .connection import Connection
from .errors import OutOfOrder
from .messages import Open
from .protocol.client import SessionState
from .session import ServerCore, SessionCore, SessionOptions, open_request
from .tick import DepthRange, Frame, Tick, TrackMode, WorldState

__all__ = ["Server", "Session", "connect"]


def connect(
    url: str,
    *,
    token: str = "",
    server_key: str = "",
    ca_file: str = "",
    timeout_s: float = 30.0,
    reconnect_timeout_s: float = 120.0,
) -> Server:
    """Connect to a server; it may be started later, within the time-out.

    Args:
        url: tcp://host:port or ipc://path (ZeroMQ), grpc://host:port, grpcs://host:port (TLS), memory://name.
        token: as the server was started with.
        server_key: ZeroMQ only: the server's public CURVE key, as it prints it; encrypts the connection.
        ca_file: grpcs only: PEM file of the authority that signed the server's certificate; empty: the system's.
        timeout_s: how long to try.
        reconnect_timeout_s: how long to try again when the connection is lost; sessions go on where they were.

    Raises:
        InvalidValue: the URL cannot be read.
        ConnectFailed: no server answered in time.
        Unauthorized: token or key are wrong.
        VersionMismatch: the two sides have no version in common.
    """
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
        with connection.changed:
            connection.changed.wait_for(lambda: connection.welcome is not None or connection.error is not None)
        if connection.error is not None:
            raise connection.error
    except BaseException:
        connection.close()
        raise
    return server


class Server(ServerCore):
    """A server that answered. Close it, or use it as a context manager."""

    def open(
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
        """Open a session.

        Args:
            prompt: what the video shows.
            first_frame: the image the video starts from: (height, width, 3) uint8 RGB, a PIL image or a path.
            seed: the same seed and ticks give the same bytes, on the same `numerics`.
            model: by name; empty for the server's default.
            negative_prompt: None for the model's own.
            tracks: who follows the points.
            depth_range: near and far that map to black and white; None: measured on the first clip.
            fit: "crop", "pad" or "stretch" where the engine's aspect is not the model's; empty: such input is refused.
            frame_encoding: "png" and "raw" are lossless, "jpeg" is small.
            numerics: open only where the server's agree on these keys.
            continue_from: go on from another session's `state`, on this or another server.
            first_tick: index of the first tick that will be sent.
            record: have the server keep a recording, where it offers that.
            options: how to use the wire.

        Raises:
            UsageError: an argument is wrong; it is named.
            ServerError: the server cannot open it.
        """
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
        return Session(self._connection, request, options or SessionOptions())

    def close(self) -> None:
        """Close the connection; sessions that are not over are kept by the server for a while, then dropped."""
        self._connection.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Session(SessionCore):
    """One video in the making. Close it, or use it as a context manager: leaving it with an error cancels it.

    One thread may send while another reads.
    """

    def __init__(self, connection: Connection, request: Open, options: SessionOptions) -> None:
        super().__init__(connection, request, options)
        with connection.changed:
            connection.add(self._client)
            self._wait(lambda: self._client.state is not SessionState.OPENING)
            if self._client.error is not None:
                self._end()
                raise self._client.error
        self._start_recording()

    def send(self, tick: Tick) -> None:
        """Send the next tick; waits while the server has no room for it.

        Arrays are copied unless they are read-only, so an engine may reuse its buffers.

        Raises:
            OutOfOrder: it is not the next tick, or the session takes none now.
            ServerError, ConnectionLost: the session has failed.
        """
        with self._connection.changed:
            while not self._send_now(tick):
                self._wait(lambda: self._client.may_send_tick or self._client.state is not SessionState.OPEN)
        self._record(tick)

    def frames(self, *, finish: bool = True) -> Iterator[Frame]:
        """Yield frames in order, each once, until the last.

        Args:
            finish: say first that no tick follows. Pass False in a thread that reads while another one sends; it ends
                when that one has called `finish()`.

        Raises:
            ServerError, ConnectionLost: the session has failed; all frames that had arrived were yielded before.
        """
        if finish:
            self.finish()
        while True:
            with self._connection.changed:
                self._wait(lambda: len(self._spool) > 0 or self._over)
                message = self._take_frame()
            if message is None:
                return
            yield self._deliver(message)

    def wait_until(self, condition: Callable[[Session], bool], *, timeout_s: float | None = None) -> bool:
        """Wait until `condition(session)` holds, looking again after every change; False on time-out or at the end."""
        with self._connection.changed:
            self._connection.changed.wait_for(lambda: condition(self) or self._over, timeout_s)
            return condition(self)

    def close(self) -> None:
        """End the session; one that is not finished is cancelled."""
        with self._connection.changed:
            if self._closed:
                return
            self._closed = True
            if not self._over:
                self.cancel()
                if self._connection.connected:
                    self._connection.changed.wait_for(lambda: self._over or not self._connection.connected, 5.0)
            self._end()

    def _wait(self, condition: Callable[[], bool]) -> None:
        if self._closed:
            raise OutOfOrder("the session is closed", field="session", remedy="Open another one.")
        self._connection.changed.wait_for(condition)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
