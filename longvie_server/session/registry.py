"""The sessions of one server: who owns them, how they are resumed, when they are dropped. No sockets, no clocks."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from bridge.errors import LimitExceeded, SessionGone
from bridge.messages import Limits, Open, Resume

from .session import Phase, Session

__all__ = ["Entry", "SessionRegistry"]

Owner = TypeVar("Owner")


@dataclass(slots=True, eq=False)
class Entry(Generic[Owner]):
    """A session and its place in the world.

    Args:
        session: the session.
        request: what opened it, without the first frame.
        token: the secret that resumes it.
        owner: the connection that has it, or None while it waits to be resumed.
        expires_s: when it is dropped unless it is resumed; meaningless while it has an owner.
    """

    session: Session
    request: Open
    token: str
    owner: Owner | None
    expires_s: float = 0.0


class SessionRegistry(Generic[Owner]):
    """All sessions of one server.

    Args:
        limits: sessions per connection, and how long a lost one is kept.
        max_sessions: in all.
    """

    def __init__(self, limits: Limits, *, max_sessions: int) -> None:
        self._limits = limits
        self._max_sessions = max_sessions
        self._entries: dict[str, Entry[Owner]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry[Owner]]:
        return iter(tuple(self._entries.values()))

    def get(self, name: str) -> Entry[Owner] | None:
        """Return a session's entry."""
        return self._entries.get(name)

    def owned(self, name: str, owner: Owner) -> Entry[Owner]:
        """Return the entry of a session that this connection has.

        Raises:
            SessionGone: it is unknown, or another connection has it.
        """
        entry = self._entries.get(name)
        if entry is None or entry.owner is not owner:
            raise _gone(name)
        return entry

    def opened_by(self, key: str) -> Entry[Owner] | None:
        """Return the entry that an `Open` with this key has made already."""
        return next(
            (e for e in self._entries.values() if hmac.compare_digest(e.request.key.encode(), key.encode())), None
        )

    def check_room(self, owner: Owner) -> None:
        """Refuse one session too many.

        Raises:
            LimitExceeded: on this connection or in all.
        """
        alive = [entry for entry in self if entry.session.phase is not Phase.OVER]
        mine = sum(entry.owner is owner for entry in alive)
        if mine >= self._limits.max_sessions or len(alive) >= self._max_sessions:
            raise LimitExceeded(
                f"at most {self._limits.max_sessions} sessions per connection and {self._max_sessions} in all",
                field="open",
                value=f"{mine} and {len(alive)}",
                remedy="Close a session first, or try again when others have ended.",
            )

    def new_name(self) -> str:
        """Return a name for a new session."""
        return f"s-{secrets.token_hex(6)}"

    def add(self, session: Session, request: Open, owner: Owner) -> Entry[Owner]:
        """Keep a new session."""
        entry = Entry(session, request, secrets.token_urlsafe(24), owner)
        self._entries[session.name] = entry
        return entry

    def resume(self, request: Resume, owner: Owner) -> tuple[Entry[Owner], Owner | None]:
        """Give a session to a new connection; return it and the connection that had it.

        Raises:
            SessionGone: it is unknown, or the secrets are wrong.
        """
        entry = self._entries.get(request.session)
        if (
            entry is None
            or not hmac.compare_digest(entry.token.encode(), request.token.encode())
            or not hmac.compare_digest(entry.request.key.encode(), request.key.encode())
        ):
            raise _gone(request.session)
        before, entry.owner = entry.owner, owner
        return entry, before

    def release(self, owner: Owner, *, now_s: float) -> list[Entry[Owner]]:
        """A connection is gone: its sessions wait to be resumed. Return them."""
        released = [entry for entry in self if entry.owner is owner]
        for entry in released:
            entry.owner = None
            entry.expires_s = now_s + self._limits.resume_ttl_s
        return released

    def expire(self, *, now_s: float) -> list[Entry[Owner]]:
        """Drop, and return, what nobody will ask for again."""
        over = [entry for entry in self if entry.session.phase is Phase.OVER]
        # The end of a session is kept for its client to hear of, but not more ends than there may be sessions.
        forgotten = set(map(id, over[: -self._max_sessions]))
        expired = [
            entry
            for entry in self
            if (entry.owner is None and entry.expires_s <= now_s)
            or (entry.session.phase is Phase.OVER and not entry.session.unacknowledged)
            or id(entry) in forgotten
        ]
        for entry in expired:
            del self._entries[entry.session.name]
        return expired


def _gone(name: str) -> SessionGone:
    return SessionGone(
        "this server does not have it (any more)",
        field="session",
        value=name,
        remedy="Open again with continue_from= the last state you were given, or from the start.",
    )
