"""A shot's session on threads of its own, so that Blender's interface never waits for a network.

Comes in: ticks, through a short queue. Goes out: frames in a folder, and what there is to show.
Laws: nothing here touches Blender; a failure of any kind ends in `error`, with a sentence; frames that were written
stay. Whoever waits for news waits in `wait`, which every change ends.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import Final

import bridge
from bridge.errors import BridgeError, InvalidValue
from bridge.messages import ModelInfo, Progress
from bridge.tick import Tick, TrackMode, WorldState

from .frame_folder import FrameFolder, ResumePoint
from .order import ServerAddress, ShotOrder

__all__ = ["ShotSession"]

_QUEUE: Final = 4  # ticks captured ahead: enough to keep the network busy, little to hold in memory


class ShotSession:
    """One session of one shot. Starts at once; ends by itself, by `cancel`, or by an error.

    Args:
        address: of the server.
        order: what to generate.
        folder: takes the frames.
        resume: the world to go on from, or None to begin.
    """

    def __init__(
        self, address: ServerAddress, order: ShotOrder, folder: FrameFolder, resume: WorldState | None
    ) -> None:
        self._address, self._order, self._folder, self._resume = address, order, folder, resume
        self._queue: queue.Queue[Tick | None] = queue.Queue()
        self._news = threading.Event()
        self._cancelled = False
        self._server: bridge.Server | None = None
        self._session: bridge.Session | None = None
        self._saved_clip = -1
        self.error: BridgeError | None = None
        self.over = False
        self.last_frame = resume.next_tick if resume is not None else -1
        """Index of the newest frame on disk; -1 before the first."""
        self._thread = threading.Thread(target=self._run, name="longvie-shot", daemon=True)
        self._thread.start()

    @property
    def model(self) -> ModelInfo | None:
        """The model that the session was opened with; None before it is open."""
        session = self._session
        return None if session is None else session.opened.model

    @property
    def first_tick(self) -> int:
        """Index of the first tick to send."""
        return self._resume.next_tick if self._resume is not None else 0

    @property
    def progress(self) -> Progress | None:
        """What the server is doing."""
        session = self._session
        return None if session is None else session.progress

    @property
    def connected(self) -> bool:
        """Whether the server is reachable right now."""
        server = self._server
        return server is not None and server.connected

    @property
    def notices(self) -> tuple[str, ...]:
        """What the server had to say."""
        session = self._session
        return () if session is None else tuple(notice.text for notice in session.notices)

    @property
    def has_room(self) -> bool:
        """Whether a tick can be taken now. One thread asks and offers."""
        return self._queue.qsize() < _QUEUE

    def starts_clip(self, index: int) -> bool:
        """Tell whether a clip begins at a tick. Ask once the session is open."""
        assert self._session is not None
        return self._session.starts_clip(index)

    def offer(self, tick: Tick) -> None:
        """Hand over the next tick; there must be room."""
        self._queue.put(tick)

    def finish(self) -> None:
        """Say that no tick follows."""
        self._queue.put(None)

    def cancel(self) -> None:
        """Stop now. Does not wait for the server."""
        self._cancelled = True
        self._abandon_queue()
        session, server = self._session, self._server
        if session is not None:
            with contextlib.suppress(BridgeError):
                session.cancel()
        if server is not None:
            server.close()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait for news: the session is open, a tick was taken, a frame came, or it is over."""
        self._news.wait(timeout_s)
        self._news.clear()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until the thread has ended."""
        self._thread.join(timeout_s)

    # --- on the thread

    def _run(self) -> None:
        try:
            self._connect_and_send()
        except BridgeError as error:
            self._fail(error)
        except Exception as error:
            self._fail(BridgeError("failed inside", value=repr(error), remedy="Please report this message."))
        finally:
            self.over = True
            self._news.set()

    def _connect_and_send(self) -> None:
        address = self._address
        with bridge.connect(
            address.url,
            token=address.token,
            server_key=address.server_key,
            timeout_s=address.timeout_s,
            reconnect_timeout_s=address.reconnect_timeout_s,
        ) as server:
            self._server = server
            if self._cancelled:
                return
            self._check_model(server)
            with self._open(server) as session:
                for tick, text in self._order.prompts_after(self.first_tick):
                    session.prompt(text, from_tick=tick)
                self._session = session
                self._news.set()
                reader = threading.Thread(target=self._read, args=(session,), name="longvie-frames", daemon=True)
                reader.start()
                try:
                    self._send(session)
                finally:
                    reader.join()

    def _check_model(self, server: bridge.Server) -> None:
        order, models = self._order, {model.name: model for model in server.models}
        model = models.get(order.model or server.models[0].name)
        if model is None:
            raise InvalidValue(
                "is not offered by this server",
                field="model",
                value=order.model,
                remedy=f"Choose one of {', '.join(models)}.",
            )
        # A model that does not speak of its quality has but one.
        quality = model.numerics.get("quality", order.quality)
        if order.quality not in ("", quality):
            raise InvalidValue(
                f"this server makes {model.name} in quality {quality}",
                field="quality",
                value=order.quality,
                remedy=f"Choose {quality}, or start the server with --quality {order.quality}.",
            )

    def _open(self, server: bridge.Server) -> bridge.Session:
        order, resume = self._order, self._resume
        return server.open(
            prompt=order.prompt_at(self.first_tick),
            first_frame=order.first_frame if resume is None else None,
            continue_from=resume,
            seed=order.seed,
            model=order.model if resume is None else resume.model,
            tracks=TrackMode.ENGINE,
            fit=order.fit.value,
            depth_range=order.depth_range if resume is None else None,
        )

    def _send(self, session: bridge.Session) -> None:
        while (tick := self._queue.get()) is not None:
            self._news.set()
            session.send(tick)
        session.finish()

    def _read(self, session: bridge.Session) -> None:
        try:
            for frame in session.frames(finish=False):
                self._folder.write(frame)
                self.last_frame = frame.index
                self._save_point(session)
                self._news.set()
        except BridgeError as error:
            self._fail(error)
        except OSError as error:
            self._fail(
                InvalidValue(
                    f"a frame cannot be written: {error.strerror or error}",
                    field="output folder",
                    value=self._folder.path,
                    remedy="Make room, or choose another folder; then press Resume.",
                )
            )
            session.cancel()
        with contextlib.suppress(OSError):
            self._save_point(session)
        self._abandon_queue()

    def _save_point(self, session: bridge.Session) -> None:
        """Keep the newest world whose frames are all on disk."""
        done = session.last_clip
        if done is None or done.clip <= self._saved_clip:
            return
        state = session.state
        if state is not None and self.last_frame >= state.next_tick:
            self._saved_clip = done.clip
            self._folder.save_point(ResumePoint(state, self._order.facts()))

    def _abandon_queue(self) -> None:
        """Let a sender that waits for ticks go home."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        self._queue.put(None)

    def _fail(self, error: BridgeError) -> None:
        # What breaks because the user stopped it is no error, and the first error is the cause of the others.
        if not self._cancelled and self.error is None:
            self.error = error
        self._news.set()
