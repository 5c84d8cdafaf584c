"""A session on disk: an MCAP file that Foxglove and Rerun open as it is, and from which `longvie render` generates.

Needs the extra `recording`; without it, importing this package raises a `UsageError` that says how to install it.
"""

from ..errors import UsageError
from .events import CutEvent, Event, Finish, PromptEvent
from .header import SessionHeader

try:
    from .reader import Recording
    from .writer import RecordingWriter
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] not in ("mcap", "mcap_protobuf", "foxglove_schemas_protobuf"):
        raise
    raise UsageError(
        f"recordings need the package {missing.name!r}, which is not installed",
        field="recording",
        remedy="Run: pip install longvie-bridge[recording]",
    ) from missing

__all__ = ["CutEvent", "Event", "Finish", "PromptEvent", "Recording", "RecordingWriter", "SessionHeader"]
