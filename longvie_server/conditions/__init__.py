"""The reference's own inputs: a JSON of clips, each a prompt and two control videos, beside a first frame."""

from __future__ import annotations

from .reader import ClipConditions, read_conditions, read_controls, read_first_frame, video_frames
from .writer import ConditionsWriter

__all__ = ["ClipConditions", "ConditionsWriter", "read_conditions", "read_controls", "read_first_frame", "video_frames"]
