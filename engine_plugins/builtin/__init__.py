"""The built-in engine: procedural scenes, ray-cast on the CPU.

Nothing here needs a display, a GPU or a download. `import engine_plugins.builtin` does not load Open3D; the first
renderer or engine does.
"""

from .capture import CapturedClip, capture_clip
from .engine import BuiltinEngine
from .families import (
    EVALUATION_FAMILIES,
    FAMILIES,
    TRAINING_FAMILIES,
    evaluation_family,
    evaluation_scene,
    make_scene,
    training_family,
    training_scene,
)
from .rendering import RenderedFrame, Renderer, View
from .scene import Instance, Scene
from .tracking import FollowedGrid

__all__ = [
    "EVALUATION_FAMILIES",
    "FAMILIES",
    "TRAINING_FAMILIES",
    "BuiltinEngine",
    "CapturedClip",
    "FollowedGrid",
    "Instance",
    "RenderedFrame",
    "Renderer",
    "Scene",
    "View",
    "capture_clip",
    "evaluation_family",
    "evaluation_scene",
    "make_scene",
    "training_family",
    "training_scene",
]
