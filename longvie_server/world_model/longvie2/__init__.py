"""LongVie 2 at any size, on diffusers parts."""

from __future__ import annotations

from .configs import LONGVIE2_14B, TINY, LongVie2Config, build
from .pipeline import ClipInput, LongVie2Pipeline
from .transformer import LongVie2Transformer3DModel
from .world_model import LongVie2WorldModel

__all__ = [
    "LONGVIE2_14B",
    "TINY",
    "ClipInput",
    "LongVie2Config",
    "LongVie2Pipeline",
    "LongVie2Transformer3DModel",
    "LongVie2WorldModel",
    "build",
]
