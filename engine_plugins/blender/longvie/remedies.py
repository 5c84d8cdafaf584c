"""What to do about an error, said to whoever uses Blender: the bridge's own remedies speak to programmers."""

from __future__ import annotations

from bridge.errors import BridgeError, ConnectionLost, SessionGone, Unauthorized, VersionMismatch

__all__ = ["speak_to_artists"]


def speak_to_artists(error: BridgeError, *, resumable: bool = False) -> BridgeError:
    """Give an error the remedy that fits the panel and `generate.py`, and return it.

    Args:
        error: of any kind; most keep their own remedy.
        resumable: a part of the shot is on disk and can be gone on from.
    """
    again = "press Resume: the frames that came are kept" if resumable else "press Generate again"
    if isinstance(error, ConnectionLost):
        error.remedy = f"Start it again, then {again}."
    elif isinstance(error, SessionGone):
        error.remedy = f"The server was started anew, or has forgotten the shot: {again}."
    elif isinstance(error, VersionMismatch):
        error.remedy = "Update the older of the two: the server (pip install -U longvie-bridge), or this add-on."
    elif isinstance(error, Unauthorized) and error.field == "token":
        error.remedy = "Give the token that the server was started with, in the panel or with --token."
    elif isinstance(error, Unauthorized):
        error.remedy = "Give the server key that `longvie serve` prints, in the panel or with --server-key."
    return error
