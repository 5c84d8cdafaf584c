"""The hub: peers, their sessions and the world model's worker meet here, on the reactor's thread.

A peer says hello, then opens or resumes sessions. The hub hands each message to its session, sends what the session
answers, and gives the worker one clip after the other, sessions taking turns. It never waits for anything.
"""

from __future__ import annotations

import hmac
import platform
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from bridge.errors import BridgeError, ProtocolError, Unauthorized, VersionMismatch
from bridge.messages import (
    PROTOCOL_VERSION,
    Ack,
    Cancel,
    ClientMessage,
    Cut,
    ErrorMessage,
    Finish,
    Hello,
    Limits,
    Open,
    Opened,
    Ping,
    Pong,
    PromptChange,
    Resume,
    Resumed,
    ServerMessage,
    TickMessage,
    Welcome,
)
from bridge.planes import zstd_available

from ..session.clip_buffer import BufferPool
from ..session.opening import model_info, open_session
from ..session.registry import Entry, SessionRegistry
from ..world_model.interface import ModelSpec
from .conductor import Conductor
from .metrics import Metrics
from .peer import PeerLink
from .reactor import Reactor

__all__ = ["Hub", "HubConfig"]

_EXPIRY_PERIOD_S: Final = 1.0
_FOREIGN_INBOX: Final = 32  # messages, a tick of 1 MB each at full size

_log = structlog.get_logger("longvie.hub")


@dataclass(frozen=True, slots=True)
class HubConfig:
    """What a server allows.

    Args:
        token: that clients must send; empty lets everyone in.
        limits: on messages and sessions per connection.
        max_sessions: in all.
        credit_bytes: per session, for ticks that are not yet control pixels.
        record_dir: where sessions that ask for it are recorded; None: nowhere.
    """

    token: str = ""
    limits: Limits = field(default_factory=Limits)
    max_sessions: int = 64
    credit_bytes: int = 256 * 2**20
    record_dir: Path | None = None


class Hub:
    """Implements `PeerSink`.

    Args:
        reactor: whose thread everything here runs on.
        spec: of the worker's model.
        conductor: gives clips to the worker.
        config: what is allowed.
        metrics: counts.
    """

    def __init__(
        self,
        reactor: Reactor,
        *,
        spec: ModelSpec,
        conductor: Conductor,
        config: HubConfig,
        metrics: Metrics,
    ) -> None:
        self._reactor, self._spec, self._conductor = reactor, spec, conductor
        self._config, self._metrics = config, metrics
        self._room = threading.BoundedSemaphore(_FOREIGN_INBOX)
        self._inbox: deque[Callable[[], None]] = deque()
        self._greeted: set[PeerLink] = set()
        self._dirty: dict[str, Entry[PeerLink]] = {}
        self._pool = BufferPool(spec.height, spec.width)
        self.sessions: SessionRegistry[PeerLink] = SessionRegistry(config.limits, max_sessions=config.max_sessions)
        conductor.use(self.sessions, flush=self._flush)
        reactor.call_later(_EXPIRY_PERIOD_S, self._expire)

    # --- PeerSink

    def arrived(self, link: PeerLink, message: ClientMessage) -> None:
        """Take a message; on another thread, wait for room and hand it over."""
        self._on_reactor(lambda: self._take(link, message))

    def settle(self) -> None:
        """Send what the sessions have to say after a batch of messages."""
        dirty, self._dirty = self._dirty, {}
        for entry in dirty.values():
            self._flush(entry)
        if dirty:
            self._conductor.advance()

    def broken(self, link: PeerLink, error: BridgeError) -> None:
        """Tell a peer that it cannot be understood, and let it go."""
        self._on_reactor(lambda: self._expel(link, error))

    def gone(self, link: PeerLink) -> None:
        """Keep a peer's sessions for it to resume."""
        self._on_reactor(lambda: self._release(link))

    def _on_reactor(self, call: Callable[[], None]) -> None:
        if self._reactor.is_here:
            call()
            return
        self._room.acquire()
        self._inbox.append(call)
        self._reactor.post(self._drain)

    def _drain(self) -> None:
        for _ in range(len(self._inbox)):
            self._room.release()
            self._inbox.popleft()()
        self.settle()

    def shut_down(self) -> None:
        """Complete what is being recorded; on the reactor's thread, when the server stops."""
        for entry in self.sessions:
            entry.session.shut_down()

    # --- peers

    def _take(self, link: PeerLink, message: ClientMessage) -> None:
        try:
            if isinstance(message, Hello):
                self._greet(link, message)
            elif link not in self._greeted:
                raise ProtocolError(
                    "comes before hello", field="type", value=type(message).__name__, remedy="Say hello first."
                )
            else:
                self._handle(link, message)
        except BridgeError as error:
            self._expel(link, error)

    def _greet(self, link: PeerLink, hello: Hello) -> None:
        oldest = max(1, PROTOCOL_VERSION - 1)
        version = min(PROTOCOL_VERSION, hello.max_version)
        if version < max(oldest, hello.min_version):
            raise VersionMismatch(
                f"this server speaks versions {oldest} to {PROTOCOL_VERSION}",
                field="hello.max_version",
                value=f"{hello.min_version} to {hello.max_version}",
                remedy="Update the older of the two (pip install -U longvie-bridge).",
            )
        if not hmac.compare_digest(hello.token.encode(), self._config.token.encode()):
            raise Unauthorized(
                "is wrong" if hello.token else "is missing",
                field="token",
                remedy="Pass the server's own: token= in a program; --token or LONGVIE_TOKEN for a command.",
            )
        self._greeted.add(link)
        self._metrics.peers.set(len(self._greeted))
        _log.info("peer.hello", client=hello.client, version=version)
        link.send(
            Welcome(
                version=version,
                server=f"longvie-bridge python {platform.python_version()}",
                features=("zstd",) if zstd_available() else (),
                limits=self._config.limits,
                models=(model_info(self._spec),),
            )
        )

    def _handle(self, link: PeerLink, message: ClientMessage) -> None:
        match message:
            case Open():
                self._open(link, message)
            case Resume():
                self._resume(link, message)
            case Ping():
                link.send(Pong(message.nonce))
            case TickMessage() | PromptChange() | Cut() | Finish() | Cancel() | Ack():
                self._to_session(link, message)
            case _:
                raise ProtocolError(
                    "is no client's message", field="type", value=type(message).__name__, remedy="Send hello, open, ..."
                )

    def _to_session(self, link: PeerLink, message: TickMessage | PromptChange | Cut | Finish | Cancel | Ack) -> None:
        entry = self.sessions.get(message.session)
        if entry is None or entry.owner is not link:
            # Another connection has resumed it, or it is over: what was under way for it has no one to answer to.
            return
        try:
            if isinstance(message, Ack):
                entry.session.acknowledge(message)
            else:
                entry.session.receive(message)
        except BridgeError as error:
            entry.session.fail(error)
        if isinstance(message, TickMessage):
            self._metrics.ticks.inc()
        self._dirty[entry.session.name] = entry

    def _open(self, link: PeerLink, request: Open) -> None:
        entry = self.sessions.opened_by(request.key)
        if entry is not None:
            self._adopt(entry, link)
        else:
            try:
                if self._conductor.broken is not None:
                    raise self._conductor.broken
                self.sessions.check_room(link)
                session = open_session(
                    request,
                    name=self.sessions.new_name(),
                    spec=self._spec,
                    limits=self._config.limits,
                    credit_bytes=self._config.credit_bytes,
                    pool=self._pool,
                    record_dir=self._config.record_dir,
                )
            except BridgeError as error:
                _log.info("session.refused", code=error.code, field=error.field, problem=error.problem)
                link.send(_error_message(error, key=request.key))
                return
            entry = self.sessions.add(session, request, link)
            self._conductor.join(session.name)
            self._metrics.sessions.set(len(self.sessions))
            _log.info("session.opened", session=session.name, tracks=request.track_mode, seed=request.seed)
        link.send(
            Opened(
                key=request.key,
                session=entry.session.name,
                token=entry.token,
                model=model_info(self._spec),
                first_tick=entry.session.first_tick,
                clip=entry.session.clip,
                granted_ticks=entry.session.granted_ticks,
                seed=request.seed,
            )
        )

    def _resume(self, link: PeerLink, request: Resume) -> None:
        try:
            entry, before = self.sessions.resume(request, link)
            entry.session.resume(request.received_seq)
        except BridgeError as error:
            link.send(_error_message(error, session=request.session))
            return
        if before is not None and before is not link:
            _log.info("session.moved", session=request.session)
        self._metrics.resumes.inc()
        link.send(Resumed(entry.session.name, entry.session.received_seq, entry.session.granted_ticks))
        self._flush(entry)
        self._conductor.advance()

    def _adopt(self, entry: Entry[PeerLink], link: PeerLink) -> None:
        entry.owner = link
        entry.session.resume(0)

    def _expel(self, link: PeerLink, error: BridgeError) -> None:
        if link.send(_error_message(error)):  # what a peer that is gone had still under way needs no answer
            self._metrics.refused.labels(code=error.code).inc()
            _log.warning("peer.refused", code=error.code, field=error.field, value=error.value, problem=error.problem)
        link.close()
        self._release(link)

    def _release(self, link: PeerLink) -> None:
        self._greeted.discard(link)
        self._metrics.peers.set(len(self._greeted))
        for entry in self.sessions.release(link, now_s=self._reactor.now()):
            entry.session.detach()
            _log.info("session.detached", session=entry.session.name)

    # --- sessions

    def _flush(self, entry: Entry[PeerLink]) -> None:
        """Send what a session has to say; without an owner, numbered messages are kept by the session."""
        messages = entry.session.take_output()
        if entry.owner is None:
            return
        for message in messages:
            self._metrics.count(message)
            if not entry.owner.send(message):
                self._release(entry.owner)
                return

    def _expire(self) -> None:
        for entry in self.sessions.expire(now_s=self._reactor.now()):
            self._conductor.leave(entry.session.name)
            self._metrics.sessions.set(len(self.sessions))
            _log.info("session.dropped", session=entry.session.name, phase=entry.session.phase.value)
        self._reactor.call_later(_EXPIRY_PERIOD_S, self._expire)


def _error_message(error: BridgeError, *, session: str = "", key: str = "") -> ServerMessage:
    return ErrorMessage(
        error.code, error.problem, error.field, error.value, error.remedy, session=session, key=key, fatal=True
    )
