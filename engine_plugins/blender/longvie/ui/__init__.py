"""The add-on's classes, in the order in which Blender must learn of them."""

from __future__ import annotations

from typing import Any

import bpy

from .operators import LONGVIE_OT_cancel, LONGVIE_OT_connect, LONGVIE_OT_generate, LONGVIE_OT_preview
from .panel import LONGVIE_PT_output, LONGVIE_PT_sidebar
from .preferences import LONGVIE_AP_preferences
from .properties import LONGVIE_PG_shot
from .state import STATE

__all__ = ["register", "unregister"]

_CLASSES = (
    LONGVIE_PG_shot,
    LONGVIE_AP_preferences,
    LONGVIE_OT_connect,
    LONGVIE_OT_preview,
    LONGVIE_OT_generate,
    LONGVIE_OT_cancel,
    LONGVIE_PT_sidebar,
    LONGVIE_PT_output,
)


def _before_load(*_: Any) -> None:
    STATE.stop()


def register() -> None:
    """Add everything to Blender."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.longvie = bpy.props.PointerProperty(type=LONGVIE_PG_shot)
    bpy.app.handlers.load_pre.append(bpy.app.handlers.persistent(_before_load))


def unregister() -> None:
    """Stop what runs, and take everything out again."""
    STATE.stop()
    bpy.app.handlers.load_pre.remove(_before_load)
    del bpy.types.Scene.longvie
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
