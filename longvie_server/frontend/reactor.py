"""The front end's one thread: it waits for sockets, for calls from other threads, and for time.

All of a server's session state is touched on this thread only, so nothing in it needs a lock.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import zmq

__all__ = ["Reactor"]

_IDLE_MS: Final = 60_000


class Reactor:
    """A loop over sockets, posted calls and timers.

    Args:
        on_error: takes what a callback raised; the loop goes on.
        clock: monotonic seconds.
    """

    def __init__(
        self, *, on_error: Callable[[BaseException], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.now = clock
        self._on_error = on_error
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._sockets: dict[zmq.Socket[bytes], Callable[[], None]] = {}
        self._poller = zmq.Poller()
        self._wake_lock = threading.Lock()
        self._woken = False
        self._wake_in = self.context.socket(zmq.PULL)
        self._wake_in.bind("inproc://wake")
        self._wake_out = self.context.socket(zmq.PUSH)
        self._wake_out.connect("inproc://wake")
        self._poller.register(self._wake_in, zmq.POLLIN)
        self._running = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Run the loop on a thread of its own."""
        self._running = True
        self._thread = threading.Thread(target=self._run, name="longvie-front-end")
        self._thread.start()

    def stop(self) -> None:
        """Run what was posted, then end the loop and close the context; owners close their sockets first."""
        if self._thread is None:
            return
        self.post(self._end)
        self._thread.join()
        self._thread = None
        self._wake_in.close(linger=0)
        self._wake_out.close(linger=0)
        self.context.term()

    @property
    def is_here(self) -> bool:
        """Whether the caller is on the loop's thread."""
        return threading.current_thread() is self._thread

    def post(self, call: Callable[[], None]) -> None:
        """Have the loop call this; from any thread."""
        self._calls.append(call)
        with self._wake_lock:
            if not self._woken:
                self._woken = True
                self._wake_out.send(b"", zmq.DONTWAIT)

    def run(self, call: Callable[[], None]) -> None:
        """Have the loop call this and wait until it has; raises what it raises. Not from the loop itself."""
        done = threading.Event()
        failure: list[BaseException] = []

        def wrapped() -> None:
            try:
                call()
            except BaseException as error:
                failure.append(error)
            finally:
                done.set()

        self.post(wrapped)
        done.wait()
        if failure:
            raise failure[0]

    def watch(self, socket: zmq.Socket[bytes], on_readable: Callable[[], None]) -> None:
        """Call `on_readable` when the socket has something. On the loop's thread, or before it starts."""
        self._sockets[socket] = on_readable
        self._poller.register(socket, zmq.POLLIN)

    def unwatch(self, socket: zmq.Socket[bytes]) -> None:
        """Undo `watch`."""
        del self._sockets[socket]
        self._poller.unregister(socket)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call this after a while. On the loop's thread, or before it starts."""
        heapq.heappush(self._timers, (self.now() + delay_s, next(self._order), call))

    def _run(self) -> None:
        while self._running:
            ready = dict(self._poller.poll(self._wait_ms()))
            if self._wake_in in ready:
                self._wake_in.recv()
                self._woken = False  # before the calls are looked at: whoever posts from now on wakes again
            for _ in range(len(self._calls)):
                self._call(self._calls.popleft())
            while self._timers and self._timers[0][0] <= self.now():
                self._call(heapq.heappop(self._timers)[2])
            for socket in tuple(self._sockets):
                if socket in ready and socket in self._sockets:
                    self._call(self._sockets[socket])

    def _wait_ms(self) -> int:
        if self._calls:
            return 0
        if not self._timers:
            return _IDLE_MS
        return max(0, min(_IDLE_MS, int((self._timers[0][0] - self.now()) * 1000) + 1))

    def _call(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            self._on_error(error)

    def _end(self) -> None:
        self._running = False
