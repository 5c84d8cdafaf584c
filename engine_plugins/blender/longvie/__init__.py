"""The LongVie add-on for Blender 3.4 to 5.0: a shot's depth and motion become footage, from a panel or a farm.

As an extension (4.2 and newer) its libraries are installed by Blender; as an add-on they come out of `wheels/`.
Importing this package touches no Blender; `register` does.
"""

from . import libraries

__all__ = ["register", "unregister"]

bl_info = {
    "name": "LongVie Bridge",
    "author": "The LongVie Bridge authors",
    "version": (0, 1, 0),
    "blender": (3, 4, 0),
    "location": "3D Viewport > Sidebar > LongVie, and Output properties",
    "description": "Generate photoreal footage from a blocked-out shot, on a LongVie server",
    "category": "Render",
}

libraries.provide()


def register() -> None:
    """Add the panels and operators to Blender."""
    from . import ui

    ui.register()


def unregister() -> None:
    """Stop what runs, and take everything out again."""
    from . import ui

    ui.unregister()
