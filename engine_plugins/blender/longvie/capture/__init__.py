"""From a Blender scene to ticks: camera, depth, followed points."""

from .shot import ShotCapture

__all__ = ["ShotCapture"]
