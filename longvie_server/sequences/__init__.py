"""True videos with their controls, clip by clip: what models are judged on and trained with, whoever made them."""

from __future__ import annotations

from .find import find_sources
from .sequence import ClipSequence, SequenceClip, SequenceSource, cache_folder, cached
from .truth import ClipTruth

__all__ = ["ClipSequence", "ClipTruth", "SequenceClip", "SequenceSource", "cache_folder", "cached", "find_sources"]
