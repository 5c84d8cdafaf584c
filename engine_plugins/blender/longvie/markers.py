"""Prompts on the timeline: a marker called "prompt: ..." says what the video shows from there on."""

from __future__ import annotations

import re
from typing import Any, Final

from .sampling import Sampling

__all__ = ["prompts_of"]

_MARKER: Final = re.compile(r"\s*prompt\s*:\s*(?P<text>.*\S)\s*", re.IGNORECASE)


def prompts_of(scene: Any, sampling: Sampling) -> tuple[tuple[int, str], ...]:
    """Return (tick, text) of every prompt marker inside the shot, in order.

    A prompt holds from the first clip that begins at its tick or later.
    """
    prompts = []
    for marker in scene.timeline_markers:
        match = _MARKER.fullmatch(marker.name)
        if match and marker.frame <= sampling.frame_end:
            prompts.append((sampling.first_tick_at(marker.frame), match["text"]))
    return tuple(sorted(prompts))
