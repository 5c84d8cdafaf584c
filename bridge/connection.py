"""The client's I/O thread: it owns the transport, and always receives.

Callers' threads touch sessions under one lock and wake the thread when there is something to send; the thread wakes
callers through a condition, and asyncio listeners through callbacks. Both faces, `bridge.client` and `bridge.aio`,
stand on this.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from .errors import BridgeError, ConnectFailed, ConnectionLost, OutOfOrder, TransportError
from .messages import Hello, Welcome
from .protocol.client import ClientConnection, ClientSession
from .transports.base import ClientTransport, Down, TransportEvent, Up

__all__ = ["Connection"]

_REPORT: Final = "This is a bug of ours: please report it with this message."
_POLL_S: Final = 1.0  # only deadlines need it: messages and wakes interrupt the wait
_RETRY_S: Final = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Pauses before connecting again; the last one repeats. The first attempt after a loss is made at once."""


class Connection:
    """A connection that comes back by itself.

    Args:
        transport: moves the messages.
        url: for error messages.
        hello: token and features.
        connect_timeout_s: how long to try at first.
        reconnect_timeout_s: how long to try after the connection was lost.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        transport: ClientTransport,
        *,
        url: str,
        hello: Hello,
        connect_timeout_s: float,
        reconnect_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport, self._url, self._clock = transport, url, clock
        self._core = ClientConnection(hello)
        self._connect_timeout_s, self._reconnect_timeout_s = connect_timeout_s, reconnect_timeout_s
        self._deadline: float | None = clock() + connect_timeout_s
        self._was_ready = False
        self._closing = False
        self._reopen_s: float | None = clock()
        self._retries = 0
        self._reason = "no answer"
        self.changed = threading.Condition()
        self._listeners: set[Callable[[], None]] = set()
        self._thread = threading.Thread(target=self._run, name="longvie-bridge", daemon=True)
        self._thread.start()

    @property
    def error(self) -> BridgeError | None:
        """Why the connection is over, if it is."""
        return self._core.error

    @property
    def welcome(self) -> Welcome | None:
        """The server's greeting, once it has come."""
        return self._core.welcome

    @property
    def connected(self) -> bool:
        """Whether the server is reachable right now."""
        return self._core.ready

    def listen(self, callback: Callable[[], None]) -> None:
        """Call `callback`, on the I/O thread, after every change; it must not block."""
        with self.changed:
            self._listeners.add(callback)

    def unlisten(self, callback: Callable[[], None]) -> None:
        """Undo `listen`."""
        with self.changed:
            self._listeners.discard(callback)

    def add(self, session: ClientSession) -> None:
        """Open a session. Call with `changed` held."""
        if self._closing:
            raise OutOfOrder("the connection is closed", field="open", remedy="Connect again.")
        if self._core.error is not None:
            raise self._core.error
        self._core.add(session)
        self.flush()

    def forget(self, session: ClientSession) -> None:
        """Drop a session that is over. Call with `changed` held."""
        self._core.forget(session)

    def flush(self) -> None:
        """Have the I/O thread send what waits. Call with `changed` held."""
        if not self._closing:
            self._transport.wake()

    def close(self) -> None:
        """Send what waits, then stop the thread."""
        with self.changed:
            self.flush()
            self._closing = True
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closing:
                self._step()
            self._send_waiting()
        except Exception as error:
            # Whoever waits must hear of it; a thread that dies silently would leave them waiting for ever.
            with self.changed:
                self._core.fail(TransportError("the connection failed inside", value=repr(error), remedy=_REPORT))
            raise
        finally:
            with self.changed:
                self._closing = True
            self._transport.close()
            with self.changed:
                if self._core.error is None:
                    self._core.fail(OutOfOrder("the connection is closed", field="close", remedy="Connect again."))
                self._notify()

    def _step(self) -> None:
        if self._reopen_s is not None and self._clock() >= self._reopen_s:
            self._reopen_s = None
            try:
                self._transport.open()
            except BridgeError as error:
                self._fail(error)
        self._send_waiting()
        events = self._transport.poll(self._wait_s())
        with self.changed:
            for event in events:
                self._take(event)
            if self._check_deadline() or events:
                self._notify()
        self._send_waiting()

    def _send_waiting(self) -> None:
        with self.changed:
            waiting = self._core.take_output()
        for message in waiting:
            self._transport.send(message)

    def _wait_s(self) -> float:
        times = [at for at in (self._deadline, self._reopen_s) if at is not None]
        return max(0.0, min(_POLL_S, *(at - self._clock() for at in times)) if times else _POLL_S)

    def _take(self, event: TransportEvent) -> None:
        if isinstance(event, Up):
            self._core.up()
        elif isinstance(event, Down):
            self._lost(event)
        else:
            self._core.receive(event)
            if self._core.ready:
                self._was_ready, self._deadline, self._retries = True, None, 0
            if self._core.error is not None:
                self._deadline = None

    def _lost(self, event: Down) -> None:
        self._reason = event.reason
        self._core.down()
        if event.error is not None:
            self._core.fail(event.error)
        if self._core.error is None:
            pause = _RETRY_S[min(self._retries, len(_RETRY_S) - 1)]
            self._reopen_s, self._retries = self._clock() + pause, self._retries + 1
            if self._deadline is None:
                self._deadline = self._clock() + self._reconnect_timeout_s

    def _check_deadline(self) -> bool:
        """Give up where the time is over; tell whether that happened now."""
        if self._deadline is None or self._clock() < self._deadline:
            return False
        self._deadline = None
        if self._was_ready:
            self._core.fail(
                ConnectionLost(
                    f"the server has been gone for {self._reconnect_timeout_s:g} s ({self._reason})",
                    field="url",
                    value=self._url,
                    remedy="Start it again and open with continue_from=session.state; frames that arrived are kept.",
                )
            )
        else:
            self._core.fail(
                ConnectFailed(
                    f"no server answered within {self._connect_timeout_s:g} s ({self._reason})",
                    field="url",
                    value=self._url,
                    remedy="Is `longvie serve` running there, on this port, and encrypted on both sides or on neither?",
                )
            )
        return True

    def _fail(self, error: BridgeError) -> None:
        with self.changed:
            self._core.fail(error)
            self._notify()

    def _notify(self) -> None:
        self.changed.notify_all()
        for listener in tuple(self._listeners):
            listener()
