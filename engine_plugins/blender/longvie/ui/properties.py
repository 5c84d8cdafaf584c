"""What the panel holds for each scene: it is saved with the file. Server and token are not: see `preferences`."""

from typing import Any

import bpy

from .state import STATE

__all__ = ["LONGVIE_PG_shot"]


def _offered_models(_shot: Any, _context: Any, typed: str) -> list[str]:
    return [name for name in STATE.model_names if typed.lower() in name.lower()]


class LONGVIE_PG_shot(bpy.types.PropertyGroup):
    """A scene's shot, as the user set it up."""

    prompt: bpy.props.StringProperty(
        name="Prompt",
        description="What the video shows. Timeline markers called 'prompt: ...' change it from their frame on",
    )
    seed: bpy.props.IntProperty(name="Seed", min=0, description="The same seed and shot give the same frames")
    model: bpy.props.StringProperty(
        name="Model",
        description="By name; empty for the server's default. Connect to be offered its models",
        search=_offered_models,
    )
    quality: bpy.props.EnumProperty(
        name="Quality",
        description="A server makes one quality, chosen when it is started: another one is refused",
        items=(
            ("SERVER", "Server's", "Whatever the server was started with"),
            ("FINAL", "Final", "Every step: what the model's authors ran"),
            ("BALANCED", "Balanced", "Fewer steps are computed, the others extrapolated"),
            ("PREVIEW", "Preview", "A few steps with a distilled model: soon there, less exact"),
        ),
    )
    sampling: bpy.props.EnumProperty(
        name="Sampling",
        items=(
            ("REAL_TIME", "Real time", "Sample the shot 16 times a second, between frames where needed"),
            ("EVERY_FRAME", "Every frame", "One generated frame per scene frame; motion looks slower or faster"),
        ),
    )
    use_range: bpy.props.BoolProperty(name="Own range", description="Another frame range than the scene's")
    frame_start: bpy.props.IntProperty(name="Start", default=1)
    frame_end: bpy.props.IntProperty(name="End", default=250)
    first_frame: bpy.props.EnumProperty(
        name="First frame",
        items=(
            ("STILL", "Render a still", "Render the shot's first moment now; Blender waits for it"),
            ("IMAGE", "Image", "A picture from disk: a photoreal one gives the look"),
            ("RENDER", "Current render", "What the Render Result holds"),
        ),
    )
    first_frame_path: bpy.props.StringProperty(name="Image", subtype="FILE_PATH")
    still_engine: bpy.props.EnumProperty(
        name="Engine",
        items=(
            ("SCENE", "Scene's engine", "Whatever the scene renders with"),
            ("CYCLES", "Cycles", "Render the still with Cycles"),
            ("EEVEE", "EEVEE", "Render the still with EEVEE"),
            ("WORKBENCH", "Workbench", "Render the still with Workbench"),
        ),
    )
    fit: bpy.props.EnumProperty(
        name="Aspect",
        description="How the render's picture fills the model's, where their sides are not in proportion",
        items=(
            ("crop", "Crop", "Cut off what stands over"),
            ("pad", "Pad", "Show everything, with black bars"),
            ("stretch", "Stretch", "Show everything, distorted"),
        ),
    )
    out: bpy.props.StringProperty(
        name="Output", subtype="DIR_PATH", default="//longvie/", description="Folder of the frames"
    )
