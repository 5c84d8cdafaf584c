"""The first frame as Blender renders it: one still at the shot's first moment.

Laws: every render setting that is touched is put back, and so is the scene's frame, whatever happens.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Final

import bpy

from bridge.errors import InvalidValue

from .scene_guard import SceneGuard

__all__ = ["ENGINES", "render_still", "save_render_result"]

ENGINES: Final = ("SCENE", "CYCLES", "EEVEE", "WORKBENCH")
"""Who renders the still: the scene's own engine, or another one for this picture."""

# `media_type` first: since Blender 5.0 it decides which formats there are.
_IMAGE_SETTINGS: Final = ("media_type", "file_format", "color_mode", "color_depth")
_RENDER_SETTINGS: Final = ("engine", "filepath", "use_file_extension", "use_overwrite", "film_transparent")


class _RenderGuard:
    """Remembers the render settings that a still changes, and puts them back."""

    def __init__(self, scene: Any) -> None:
        image = scene.render.image_settings
        self._held = [(scene.render, name, getattr(scene.render, name)) for name in _RENDER_SETTINGS]
        self._held += [(image, name, getattr(image, name)) for name in _IMAGE_SETTINGS if hasattr(image, name)]

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for holder, name, value in self._held:
            setattr(holder, name, value)


def render_still(scene: Any, view_layer: Any, *, frame: int, subframe: float, engine: str, path: Path) -> Path:
    """Render one picture and return its file. Blocks until it is done.

    Args:
        scene, view_layer: what is rendered.
        frame, subframe: the moment.
        engine: one of `ENGINES`.
        path: of the PNG file.

    Raises:
        InvalidValue: the engine is unknown or rendered nothing.
    """
    with SceneGuard(scene), _RenderGuard(scene):
        render = scene.render
        if engine != "SCENE":
            render.engine = _identifier(scene, engine)
        _as_png(render.image_settings)
        render.filepath, render.use_file_extension, render.use_overwrite = str(path), False, True
        render.film_transparent = False
        scene.frame_set(frame, subframe=subframe)
        try:
            bpy.ops.render.render(write_still=True, scene=scene.name, layer=view_layer.name)
        except RuntimeError as error:
            raise InvalidValue(
                f"the render failed: {str(error).strip().removeprefix('Error: ')}",
                field="first frame",
                value=engine,
                remedy="Choose an image as first frame, or another engine for the still.",
            ) from error
    if not path.exists():
        raise InvalidValue(
            "the render gave no picture",
            field="first frame",
            value=engine,
            remedy="Choose an image as first frame, or another engine for the still.",
        )
    return path


def save_render_result(scene: Any, path: Path) -> Path:
    """Write what the Render Result holds as a PNG file, and return the file.

    Raises:
        InvalidValue: nothing was rendered yet.
    """
    result = bpy.data.images.get("Render Result")
    with _RenderGuard(scene):
        _as_png(scene.render.image_settings)
        try:
            if result is None:
                raise RuntimeError("there is none")
            result.save_render(str(path), scene=scene)
        except RuntimeError as error:
            raise InvalidValue(
                "there is no render to begin with",
                field="first frame",
                value=str(error).strip(),
                remedy="Render the image first (F12), or choose another first frame.",
            ) from error
    return path


def _as_png(image: Any) -> None:
    if hasattr(image, "media_type"):
        image.media_type = "IMAGE"
    image.file_format, image.color_mode, image.color_depth = "PNG", "RGB", "8"


def _identifier(scene: Any, engine: str) -> str:
    if engine not in ENGINES:
        raise InvalidValue("unknown", field="engine", value=engine, remedy=f"Use one of {', '.join(ENGINES)}.")
    names = {"CYCLES": ("CYCLES",), "WORKBENCH": ("BLENDER_WORKBENCH",)}
    # EEVEE has changed its name twice.
    for name in names.get(engine, ("BLENDER_EEVEE_NEXT", "BLENDER_EEVEE")):
        try:
            before = scene.render.engine
            scene.render.engine = name
        except TypeError:
            continue
        scene.render.engine = before
        return name
    raise InvalidValue(
        "is not part of this Blender", field="engine", value=engine, remedy="Enable its add-on, or choose another one."
    )
