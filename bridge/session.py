"""What both clients know of a session: the shared half of `bridge.client.Session` and `bridge.aio.Session`.

Nothing here waits for the other side.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .connection import Connection
from .errors import BridgeError, InvalidValue
from .geometry.fit import Fit
from .messages import ClipDone, FrameMessage, Limits, ModelInfo, Notice, Open, Opened, Progress
from .planes import DEPTH_ENCODINGS, FRAME_ENCODINGS, image_from_plane, image_to_plane, load_image
from .protocol.client import ClientSession, SessionState
from .protocol.values import (
    range_from_message,
    range_to_message,
    state_from_message,
    state_to_message,
    tick_to_message,
)
from .spool import FrameSpool
from .tick import DepthRange, Frame, Tick, TrackMode, WorldState

if TYPE_CHECKING:
    from .recording import RecordingWriter

__all__ = ["ServerCore", "SessionCore", "SessionOptions", "open_request"]


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a session uses the wire.

    Args:
        depth_encoding: float32; float16 or inverse16 for slow links.
        compression: "" or "zstd", of depth planes.
        spool_bytes: of frames held in memory before they go to disk.
        record_to: keep everything that is sent, and every frame that is read, in this new MCAP file.
    """

    depth_encoding: str = "float32"
    compression: str = ""
    spool_bytes: int = 64 * 2**20
    record_to: str | Path | None = None

    def __post_init__(self) -> None:
        if self.depth_encoding not in DEPTH_ENCODINGS:
            raise InvalidValue(
                "unknown",
                field="depth_encoding",
                value=self.depth_encoding,
                remedy=f"Use one of {', '.join(DEPTH_ENCODINGS)}.",
            )
        if self.compression not in ("", "zstd"):
            raise InvalidValue("unknown", field="compression", value=self.compression, remedy='Use "" or "zstd".')


def open_request(
    *,
    prompt: str,
    first_frame: Any,
    continue_from: WorldState | None,
    model: str,
    seed: int,
    negative_prompt: str | None,
    tracks: TrackMode | str,
    depth_range: DepthRange | None,
    fit: str,
    frame_encoding: str,
    numerics: Mapping[str, str],
    first_tick: int,
    record: bool,
) -> Open:
    """Return the message that opens a session; raises UsageError for what can be seen to be wrong from here."""
    if (first_frame is None) == (continue_from is None):
        raise InvalidValue(
            "give exactly one of first_frame and continue_from",
            field="first_frame",
            remedy="A new session needs the image it starts from; a continued one has it in its state.",
        )
    if continue_from is None or prompt:
        _check_text("prompt", prompt)
    if negative_prompt is not None:
        _check_unicode("negative_prompt", negative_prompt)
    if frame_encoding not in FRAME_ENCODINGS:
        raise InvalidValue(
            "unknown", field="frame_encoding", value=frame_encoding, remedy=f"Use one of {', '.join(FRAME_ENCODINGS)}."
        )
    if not 0 <= seed < 2**63:
        raise InvalidValue("must be in 0 .. 2**63 - 1", field="seed", value=seed, remedy="Choose another seed.")
    try:
        mode = TrackMode(tracks)
    except ValueError:
        raise InvalidValue(
            "unknown", field="tracks", value=tracks, remedy=f"Use one of {', '.join(m.value for m in TrackMode)}."
        ) from None
    image = None if first_frame is None else image_to_plane(load_image(first_frame, name="first_frame"))
    return Open(
        key=secrets.token_hex(16),
        prompt=prompt,
        model=model,
        seed=seed,
        negative_prompt=negative_prompt,
        first_frame=image,
        continue_from=None if continue_from is None else state_to_message(continue_from),
        track_mode=mode.value,
        depth_range=range_to_message(depth_range),
        fit=fit,
        frame_encoding=frame_encoding,
        first_tick=first_tick if continue_from is None else continue_from.next_tick,
        numerics=dict(numerics),
        record=record,
    )


def _check_text(field: str, text: str) -> None:
    if not text.strip():
        raise InvalidValue("must not be empty", field=field, remedy="Describe what the video shows.")
    _check_unicode(field, text)


def _check_unicode(field: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(
            "holds half a character",
            field=field,
            value=repr(text[error.start : error.end]),
            remedy="Send valid Unicode.",
        ) from error


class ServerCore:
    """A server that answered, as it described itself."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The models it offers; the first is the default."""
        assert self._connection.welcome is not None
        return self._connection.welcome.models

    @property
    def limits(self) -> Limits:
        """What it accepts."""
        assert self._connection.welcome is not None
        return self._connection.welcome.limits

    @property
    def connected(self) -> bool:
        """Whether it is reachable right now."""
        return self._connection.connected


class SessionCore:
    """A session over a connection, without waiting."""

    def __init__(self, connection: Connection, request: Open, options: SessionOptions) -> None:
        self._connection, self._options = connection, options
        self._spool = FrameSpool(memory_bytes=options.spool_bytes)
        self._notices: list[Notice] = []
        self._client = ClientSession(request, on_frame=self._spool.put, on_notice=self._notices.append)
        self._closed = False
        self._recording: RecordingWriter | None = None
        self._recorded_clip = -1

    # --- what a user may look at, at any time

    @property
    def opened(self) -> Opened:
        """The server's answer: model, frame size, numerics."""
        assert self._client.view.opened is not None
        return self._client.view.opened

    @property
    def width(self) -> int:
        """Width of the frames, pixels."""
        return self.opened.model.width

    @property
    def height(self) -> int:
        """Height of the frames, pixels."""
        return self.opened.model.height

    @property
    def numerics(self) -> Mapping[str, str]:
        """What "the same bytes again" is promised for."""
        return self.opened.model.numerics

    @property
    def progress(self) -> Progress | None:
        """Where the running clip is: stage, step, ETA, place in the queue."""
        return self._client.view.progress

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What the server had to say."""
        return tuple(self._notices)

    @property
    def last_clip(self) -> ClipDone | None:
        """The newest finished clip with its timings."""
        return self._client.view.clip_done

    @property
    def accepted_tick(self) -> int:
        """Index of the newest tick that the server has accepted; -1 before the first."""
        return self._client.view.receipt_index

    @property
    def state(self) -> WorldState | None:
        """The newest world state: reopen with `continue_from=` it, on any server, sending from its `next_tick` on."""
        done = self._client.view.clip_done
        return None if done is None else state_from_message(done.state, _CLIENT_LIMITS)

    @property
    def refusal(self) -> BridgeError | None:
        """The newest request that the server refused without ending the session (a late prompt, say)."""
        return self._client.refusal

    @property
    def next_tick(self) -> int:
        """Index of the tick to send next."""
        return self._client.next_tick

    def starts_clip(self, index: int) -> bool:
        """Tell whether a clip begins at tick `index`: with `TrackMode.ENGINE` it needs its seeds."""
        return self._client.starts_clip(index)

    def record_reference(self, index: int, image: NDArray[np.uint8]) -> None:
        """Keep the engine's own picture of a tick, (height, width, 3) uint8, in the recording, where there is one."""
        if self._recording is not None:
            self._recording.write_reference(index, image)

    # --- what never waits

    def prompt(self, text: str, *, from_tick: int) -> None:
        """Change the prompt from the first clip that starts at `from_tick` or later.

        A prompt that comes too late is refused and shows in `refusal`; the session goes on.
        """
        _check_text("prompt", text)
        with self._connection.changed:
            self._client.send_prompt(from_tick=from_tick, text=text)
            self._connection.flush()
            if self._recording is not None:
                from .recording import PromptEvent

                self._recording.write_prompt(PromptEvent(from_tick, text))

    def cut(self, *, at_tick: int, first_frame: Any, remeasure: bool = False) -> None:
        """Start a new clip without history at `at_tick`, from its own first frame. Call before you send that tick.

        Args:
            at_tick: not yet sent.
            first_frame: as for `open`.
            remeasure: measure the depth range again on the new clip.
        """
        image = load_image(first_frame, name="first_frame")
        plane = image_to_plane(image)
        with self._connection.changed:
            self._client.send_cut(at_tick=at_tick, first_frame=plane, remeasure=remeasure)
            self._connection.flush()
            if self._recording is not None:
                from .recording import CutEvent

                self._recording.write_cut(CutEvent(at_tick, image, remeasure))

    def finish(self) -> None:
        """Say that no tick follows; `frames()` does it by itself."""
        with self._connection.changed:
            if self._client.state is not SessionState.OPEN:
                return
            self._client.finish()
            self._connection.flush()
            if self._recording is not None:
                self._recording.write_finish()

    def cancel(self) -> None:
        """Stop now; frames that have not arrived are dropped."""
        with self._connection.changed:
            self._client.cancel()
            self._connection.flush()

    def arrived(self) -> Iterator[Frame]:
        """Yield the frames that are here now, without waiting: for a loop that sends and shows."""
        while True:
            with self._connection.changed:
                message = self._take_frame()
            if message is None:
                return
            yield self._deliver(message)

    # --- steps for the two faces, which hold the connection's lock

    def _send_now(self, tick: Tick) -> bool:
        """Send a tick if there is credit; otherwise return False."""
        client = self._client
        if client.state is SessionState.OPEN and not client.may_send_tick:
            return False
        client.send_tick(
            tick.index,
            lambda session, seq: tick_to_message(
                tick,
                session=session,
                seq=seq,
                depth_encoding=self._options.depth_encoding,
                compression=self._options.compression,
            ),
        )
        self._connection.flush()
        return True

    def _start_recording(self) -> None:
        """Begin the recording that the options ask for; the session is open."""
        if self._options.record_to is None:
            return
        from .recording import RecordingWriter, SessionHeader

        request, continued = self._client.request, self._client.request.continue_from
        state = None if continued is None else state_from_message(continued, _CLIENT_LIMITS)
        if request.first_frame is not None:
            image = image_from_plane(request.first_frame, name="first_frame", limits=_CLIENT_LIMITS)
        else:
            assert state is not None
            image = state.image
        header = SessionHeader(
            prompt=request.prompt or (state.prompt if state else ""),
            seed=state.seed if state else request.seed,
            model=self.opened.model.name,
            track_mode=TrackMode(request.track_mode),
            first_frame=image,
            depth_range=range_from_message(request.depth_range),
            fit=Fit(request.fit) if request.fit else None,
            negative_prompt=request.negative_prompt,
            numerics=self.numerics,
        )
        self._recording = RecordingWriter(self._options.record_to, header=header)
        if state is not None:
            self._recording.write_state(state)

    def _record(self, tick: Tick) -> None:
        if self._recording is not None:
            self._recording.write_tick(tick)

    def _deliver(self, message: FrameMessage) -> Frame:
        """Return a frame with its image decoded, recorded where that is asked for."""
        image = image_from_plane(message.image, name="frame.image", limits=_CLIENT_LIMITS)
        frame = Frame(index=message.index, image=image, time_ns=message.time_ns, clip=message.clip)
        if self._recording is not None:
            self._recording.write_frame(frame)
            self._record_state()
        return frame

    def _record_state(self) -> None:
        done = self.last_clip
        if self._recording is not None and done is not None and done.clip > self._recorded_clip:
            self._recorded_clip = done.clip
            self._recording.write_state(state_from_message(done.state, _CLIENT_LIMITS))

    def _take_frame(self) -> FrameMessage | None:
        """Return the next frame that is here, or None; raises the session's error once all frames are read."""
        if len(self._spool):
            return self._spool.get()
        if self._client.error is not None:
            raise self._client.error
        return None

    @property
    def _over(self) -> bool:
        return self._client.state is SessionState.OVER

    def _end(self) -> None:
        self._connection.forget(self._client)
        self._spool.close()
        if self._recording is not None:
            self._record_state()
            self._recording.close()


_CLIENT_LIMITS = Limits(max_plane_bytes=2**30, max_message_bytes=2**30)
