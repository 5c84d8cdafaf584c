"""The panel, in the 3D viewport's sidebar and in the output properties: what to do first stands first."""

from __future__ import annotations

import textwrap
from typing import Any, ClassVar

import bpy

from bridge.errors import BridgeError

from ..frame_folder import FrameFolder
from .orders import out_of, sampling_of
from .state import STATE

__all__ = ["LONGVIE_PT_output", "LONGVIE_PT_sidebar"]

_ADDON = __package__.rpartition(".")[0]


class _Panel:
    """What both places show."""

    bl_label = "LongVie"

    layout: Any
    bl_space_type: str

    def draw(self, context: Any) -> None:
        """Draw it: server, shot, buttons, news."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        # Of text beside an icon, inside a box: about 7 pixels a letter.
        columns = max(20, int((context.region.width / context.preferences.system.ui_scale - 60) / 7))
        _server(layout, context, columns)
        _shot(layout, context, columns)
        _buttons(layout, context)
        _news(layout, columns)


class LONGVIE_PT_sidebar(_Panel, bpy.types.Panel):
    """In the 3D viewport."""

    bl_idname = "LONGVIE_PT_sidebar"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "LongVie"


class LONGVIE_PT_output(_Panel, bpy.types.Panel):
    """In the output properties, where the frame rate is."""

    bl_idname = "LONGVIE_PT_output"
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "output"
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}


def _server(layout: Any, context: Any, columns: int) -> None:
    preferences = context.preferences.addons[_ADDON].preferences
    box = layout.box()
    box.prop(preferences, "url")
    box.prop(preferences, "token")
    box.prop(preferences, "server_key")
    box.operator("longvie.connect", icon="URL")
    if STATE.probe is not None:
        failed = STATE.probe.over and STATE.probe.error is not None
        _sentence(box, STATE.probe.sentence(), columns, icon="ERROR" if failed else "CHECKMARK")


def _shot(layout: Any, context: Any, columns: int) -> None:
    scene = context.scene
    shot = scene.longvie
    column = layout.column()
    column.enabled = not STATE.running
    column.prop(shot, "prompt")
    column.prop(shot, "first_frame")
    if shot.first_frame == "IMAGE":
        column.prop(shot, "first_frame_path")
    elif shot.first_frame == "STILL":
        column.prop(shot, "still_engine")
    column.prop(shot, "seed")
    column.prop(shot, "model")
    column.prop(shot, "quality")
    column.prop(shot, "fit")
    column.prop(shot, "sampling")
    column.prop(shot, "use_range")
    if shot.use_range:
        column.prop(shot, "frame_start")
        column.prop(shot, "frame_end")
    column.prop(shot, "out")
    try:
        _sentence(column, sampling_of(scene).sentence(), columns, icon="TIME")
    except BridgeError as error:
        _sentence(column, str(error), columns, icon="ERROR")


def _buttons(layout: Any, context: Any) -> None:
    layout.operator("longvie.preview", icon="IMAGE_DATA")
    if STATE.running:
        layout.operator("longvie.cancel", icon="X")
        return
    row = layout.row()
    row.scale_y = 1.4
    row.operator("longvie.generate", icon="RENDER_ANIMATION").resume = False
    if _resumable(context.scene):
        layout.operator("longvie.generate", text="Resume", icon="FILE_REFRESH").resume = True


def _news(layout: Any, columns: int) -> None:
    job = STATE.job
    if STATE.message:
        _sentence(layout, STATE.message, columns, icon="ERROR")
    if job is None:
        return
    progress = job.progress
    if hasattr(layout, "progress") and not job.over:  # since Blender 4.0
        layout.progress(factor=progress.fraction, text=f"{progress.frames} of {progress.total}")
    _sentence(layout, progress.sentence(), columns, icon="ERROR" if job.error is not None else "INFO")
    for warning in job.warnings:
        _sentence(layout, warning, columns, icon="HIDE_ON")


def _resumable(scene: Any) -> bool:
    try:
        return FrameFolder(out_of(scene)).has_point()
    except BridgeError:
        return False


def _sentence(layout: Any, text: str, columns: int, *, icon: str) -> None:
    """Labels do not wrap in Blender: one label a line."""
    column = layout.column(align=True)
    for number, line in enumerate(textwrap.wrap(text, columns) or [""]):
        column.label(text=line, icon=icon if number == 0 else "BLANK1")
