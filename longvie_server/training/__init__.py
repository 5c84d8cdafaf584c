"""Training a small LongVie 2 from scratch, on scenes that the built-in engine renders."""

from __future__ import annotations

from .decoder import DecoderConfig, train_decoder
from .export import export
from .scenes import ScenesConfig, render_scenes
from .tiny import TinyConfig, train_tiny
from .world import WorldConfig, train_world

__all__ = [
    "DecoderConfig",
    "ScenesConfig",
    "TinyConfig",
    "WorldConfig",
    "export",
    "render_scenes",
    "train_decoder",
    "train_tiny",
    "train_world",
]
