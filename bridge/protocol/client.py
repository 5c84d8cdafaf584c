"""A client's connection and sessions as pure logic: messages in, messages out. No sockets, no clocks, no threads.

A connection is *down* until the transport says it is up, then *greeting* (hello sent), then *ready* (welcome received).
A session goes through these states::

    opening --opened--> open --finish()--> finishing --closed--> over
       |                  |                    |
       +------ error -----+------ error -------+--------------> over (with an error)

Laws: what is numbered is kept until it is acknowledged and sent again after a reconnect; a frame is handed out once, in
order; a tick is only sent on credit.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..errors import BridgeError, OutOfOrder, ProtocolError, SessionGone, VersionMismatch, error_from_code
from ..messages import (
    PROTOCOL_VERSION,
    Ack,
    Cancel,
    ClientMessage,
    ClipDone,
    Closed,
    Cut,
    ErrorMessage,
    Finish,
    FrameMessage,
    Hello,
    Notice,
    Open,
    Opened,
    Plane,
    Progress,
    PromptChange,
    Receipt,
    Resume,
    Resumed,
    ServerMessage,
    TickMessage,
    Welcome,
)
from .clips import ClipStarts
from .numbered import NumberedReceiver, NumberedSender

__all__ = ["ClientConnection", "ClientSession", "SessionState"]

_Numbered = TickMessage | PromptChange | Cut | Finish | Cancel


class SessionState(enum.Enum):
    """Where a client's session is."""

    OPENING = "opening"
    OPEN = "open"
    FINISHING = "finishing"
    OVER = "over"


@dataclass(slots=True)
class SessionView:
    """What a user may look at while a session runs."""

    opened: Opened | None = None
    progress: Progress | None = None
    clip_done: ClipDone | None = None
    closed: Closed | None = None
    receipt_index: int = -1
    granted_ticks: int = 0
    sent_ticks: int = 0
    received_frames: int = 0


class ClientSession:
    """One session of a client.

    Args:
        request: what to open; its `frame_credit` is renewed as frames arrive.
        on_frame: takes each frame, once, in order.
        on_notice: takes each notice.
    """

    def __init__(
        self,
        request: Open,
        *,
        on_frame: Callable[[FrameMessage], None],
        on_notice: Callable[[Notice], None],
    ) -> None:
        self.request = request
        self.state = SessionState.OPENING
        self.error: BridgeError | None = None
        self.refusal: BridgeError | None = None
        self.view = SessionView()
        self._on_frame = on_frame
        self._on_notice = on_notice
        self._sender: NumberedSender[_Numbered] = NumberedSender()
        self._receiver = NumberedReceiver()
        self._output: list[ClientMessage] = []
        self._attached = False
        self._next_tick = -1
        self._starts: ClipStarts | None = None

    # --- the user's side

    @property
    def name(self) -> str:
        """The session's name on the server; empty before it is open."""
        return self.view.opened.session if self.view.opened else ""

    @property
    def may_send_tick(self) -> bool:
        """Whether there is credit for one more tick."""
        return self.state is SessionState.OPEN and self.view.sent_ticks < self.view.granted_ticks

    @property
    def next_tick(self) -> int:
        """Index of the tick to send next."""
        return self._next_tick

    def starts_clip(self, index: int) -> bool:
        """Tell whether a clip begins at tick `index`, which then needs its seeds."""
        assert self._starts is not None
        return self._starts.starts_at(index)

    def send_tick(self, index: int, make: Callable[[str, int], TickMessage]) -> None:
        """Send the next tick; there must be credit for it.

        Raises:
            OutOfOrder: the session takes no ticks now, or `index` is not the next one.
        """
        self._require_open("send")
        if index != self._next_tick:
            raise OutOfOrder(
                f"ticks are consecutive: tick {self._next_tick} comes next",
                field="tick.index",
                value=index,
                remedy="Send every tick once, in order; use cut() for a jump in the shot.",
            )
        assert self._starts is not None
        self._append(lambda seq: make(self.name, seq))
        self._starts.advance(index)
        self._next_tick += 1
        self.view.sent_ticks += 1

    def send_prompt(self, *, from_tick: int, text: str) -> None:
        """Change the prompt from the first clip that starts at `from_tick` or later."""
        self._require_open("prompt")
        self._append(lambda seq: PromptChange(self.name, seq, from_tick, text))

    def send_cut(self, *, at_tick: int, first_frame: Plane, remeasure: bool) -> None:
        """Cut before `at_tick`, which has not been sent yet.

        Raises:
            OutOfOrder: the tick was already sent.
        """
        self._require_open("cut")
        if at_tick < self._next_tick:
            raise OutOfOrder(
                f"was already sent; tick {self._next_tick} comes next",
                field="at_tick",
                value=at_tick,
                remedy="Announce a cut before you send its tick.",
            )
        assert self._starts is not None
        self._append(lambda seq: Cut(self.name, seq, at_tick, first_frame, remeasure))
        self._starts.cut(at_tick)

    def finish(self) -> None:
        """Say that no tick follows; does nothing where that was said."""
        if self.state is SessionState.OPEN:
            self._append(lambda seq: Finish(self.name, seq))
            self.state = SessionState.FINISHING

    def cancel(self) -> None:
        """Stop the session; does nothing where it is over."""
        if self.state in (SessionState.OPEN, SessionState.FINISHING):
            self._append(lambda seq: Cancel(self.name, seq))
            self.state = SessionState.FINISHING
        elif self.state is SessionState.OPENING:
            self.state = SessionState.OVER

    def fail(self, error: BridgeError) -> None:
        """End the session with an error; the first one stays."""
        if self.state is not SessionState.OVER:
            self.state, self.error = SessionState.OVER, error

    # --- the connection's side

    def attach(self) -> None:
        """The connection is ready: open, or resume."""
        opened = self.view.opened
        if self.state is SessionState.OVER:
            return
        if opened is None:
            self._output.append(self.request)
        else:
            self._output.append(Resume(opened.session, opened.token, self.request.key, self._receiver.received))

    def detach(self) -> None:
        """The connection is down: what was not sent is sent after the next attach."""
        self._attached = False
        self._output.clear()

    def take_output(self) -> list[ClientMessage]:
        """Return what is to be sent now."""
        output, self._output = self._output, []
        return output

    def receive(self, message: ServerMessage) -> None:
        """Take a message of this session.

        Raises:
            ProtocolError: the server left out a message.
        """
        match message:
            case Opened():
                self._opened(message)
            case Resumed():
                self._resumed(message)
            case Receipt():
                self._sender.acknowledge(message.received_seq)
                self.view.receipt_index = max(self.view.receipt_index, message.index)
                self.view.granted_ticks = max(self.view.granted_ticks, message.granted_ticks)
            case Progress():
                self.view.progress = message
            case ErrorMessage():
                self._refused(message)
            case FrameMessage() | ClipDone() | Notice() | Closed():
                if self._receiver.take(message.seq):
                    self._take_numbered(message)
            case _:
                raise ProtocolError(
                    "is not a session's message",
                    field="type",
                    value=type(message).__name__,
                    remedy="Update the older of the two sides.",
                )

    def _append(self, make: Callable[[int], _Numbered]) -> None:
        message = self._sender.append(make)
        if self._attached:
            self._output.append(message)

    def _require_open(self, verb: str) -> None:
        if self.error is not None:
            raise self.error
        if self.state is not SessionState.OPEN:
            raise OutOfOrder(
                f"the session is {self.state.value}",
                field=verb,
                remedy="Send before finish() and before the loop over frames(); open another session for more.",
            )

    def _opened(self, message: Opened) -> None:
        if self.state is SessionState.OPENING:
            self.state = SessionState.OPEN
            self.view.opened = message
            self.view.granted_ticks = message.granted_ticks
            self._next_tick = message.first_tick
            self._starts = ClipStarts(message.first_tick)
        self._attached = True

    def _resumed(self, message: Resumed) -> None:
        self._sender.acknowledge(message.received_seq)
        self.view.granted_ticks = max(self.view.granted_ticks, message.granted_ticks)
        self._attached = True
        self._output.extend(self._sender.unacknowledged())

    def _refused(self, message: ErrorMessage) -> None:
        error = error_from_code(
            message.code, message.problem, field=message.field, value=message.value, remedy=message.remedy
        )
        if message.fatal and isinstance(error, SessionGone) and self.view.clip_done is not None:
            error.remedy = "Open again with continue_from=session.state and send the ticks from there on."
        if message.fatal:
            self.fail(error)
        else:
            self.refusal = error

    def _take_numbered(self, message: FrameMessage | ClipDone | Notice | Closed) -> None:
        match message:
            case FrameMessage():
                self.view.received_frames += 1
                self._on_frame(message)
            case ClipDone():
                self.view.clip_done = message
            case Notice():
                self._on_notice(message)
            case Closed():
                self.view.closed = message
                self.state = SessionState.OVER
        self._acknowledge()

    def _acknowledge(self) -> None:
        # One acknowledgement says it all: it replaces one that still waits to be sent.
        granted = self.view.received_frames + self.request.frame_credit
        ack = Ack(self.name, self._receiver.received, granted)
        if self._output and isinstance(self._output[-1], Ack):
            self._output[-1] = ack
        else:
            self._output.append(ack)


class ClientConnection:
    """A client's connection: greets, and hands messages to its sessions.

    Args:
        hello: with token and features; versions are filled in.
    """

    def __init__(self, hello: Hello) -> None:
        self._hello = replace(hello, min_version=max(1, PROTOCOL_VERSION - 1), max_version=PROTOCOL_VERSION)
        self.welcome: Welcome | None = None
        self.ready = False
        self.error: BridgeError | None = None
        self.sessions: dict[str, ClientSession] = {}
        self._output: list[ClientMessage] = []

    def add(self, session: ClientSession) -> None:
        """Open a session, now or when the connection is ready."""
        self.sessions[session.request.key] = session
        if self.ready:
            session.attach()

    def forget(self, session: ClientSession) -> None:
        """Drop a session that is over."""
        self.sessions.pop(session.request.key, None)

    def up(self) -> None:
        """The transport is connected."""
        self._output = [self._hello]

    def down(self) -> None:
        """The transport is disconnected."""
        self.ready = False
        self._output = []
        for session in self.sessions.values():
            session.detach()

    def fail(self, error: BridgeError) -> None:
        """End the connection and every session on it."""
        self.error = self.error or error
        for session in self.sessions.values():
            session.fail(error)

    def send(self, message: ClientMessage) -> None:
        """Send a message of the connection itself."""
        self._output.append(message)

    def receive(self, message: ServerMessage) -> None:
        """Take a message from the server."""
        if isinstance(message, Welcome):
            self._welcomed(message)
            return
        session = self._session_of(message)
        if session is not None:
            try:
                session.receive(message)
            except ProtocolError as error:
                session.fail(error)
        elif isinstance(message, ErrorMessage) and message.fatal:
            self.fail(
                error_from_code(
                    message.code, message.problem, field=message.field, value=message.value, remedy=message.remedy
                )
            )

    def take_output(self) -> list[ClientMessage]:
        """Return what is to be sent now, of the connection and all its sessions."""
        output, self._output = self._output, []
        for session in self.sessions.values():
            output.extend(session.take_output())
        return output

    def _welcomed(self, message: Welcome) -> None:
        if not self._hello.min_version <= message.version <= self._hello.max_version:
            self.fail(
                VersionMismatch(
                    f"the server speaks version {message.version}, this client "
                    f"{self._hello.min_version} to {self._hello.max_version}",
                    field="version",
                    value=message.version,
                    remedy="Update the older of the two (pip install -U longvie-bridge).",
                )
            )
            return
        self.welcome, self.ready = message, True
        for session in self.sessions.values():
            session.attach()

    def _session_of(self, message: ServerMessage) -> ClientSession | None:
        key = getattr(message, "key", "")
        if key:
            return self.sessions.get(key)
        name = getattr(message, "session", "")
        return next((s for s in self.sessions.values() if name and s.name == name), None)
