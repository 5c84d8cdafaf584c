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


def _before_undo(*_: Any) -> None:
    STATE.lose_scene()


def _handlers() -> list[tuple[list[Any], Any]]:
    """Return Blender's lists of handlers, and what of ours stands in each."""
    handlers = bpy.app.handlers
    return [
        (handlers.load_pre, _before_load),
        (handlers.undo_pre, _before_undo),
        (handlers.redo_pre, _before_undo),
    ]


def register() -> None:
    """Add everything to Blender."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.longvie = bpy.props.PointerProperty(type=LONGVIE_PG_shot)
    for where, handler in _handlers():
        where.append(bpy.app.handlers.persistent(handler))


def unregister() -> None:
    """Stop what runs, and take everything out again."""
    STATE.stop()
    for where, handler in _handlers():
        where.remove(handler)
    del bpy.types.Scene.longvie
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
