"""Geometry: cameras, depth, engine conventions, projection."""

from .camera import Camera, Intrinsics, Pose
from .conventions import BLENDER, MUJOCO, OPENCV, OPENGL, ROS, ROS_BODY, UNITY, UNREAL, Convention
from .depth import PLANAR_METRES, DepthDeclaration, DepthKind, check_depth, planar_over_radial, to_planar_metres
from .depth_presets import BLENDER_DEPTH, UNREAL_DEPTH, mujoco_depth, opengl_depth, ros_depth, unity_depth
from .fit import ASPECT_TOLERANCE, Fit, FitMap
from .lenses import (
    SensorFit,
    blender_intrinsics,
    opengl_intrinsics,
    ros_intrinsics,
    unity_intrinsics,
    unreal_intrinsics,
)
from .projection import project, seed_points, unproject, unproject_pixels
from .seeds import seed_grid, seed_pixels, seed_uv
from .visibility import visibility

__all__ = [
    "ASPECT_TOLERANCE",
    "BLENDER",
    "BLENDER_DEPTH",
    "MUJOCO",
    "OPENCV",
    "OPENGL",
    "PLANAR_METRES",
    "ROS",
    "ROS_BODY",
    "UNITY",
    "UNREAL",
    "UNREAL_DEPTH",
    "Camera",
    "Convention",
    "DepthDeclaration",
    "DepthKind",
    "Fit",
    "FitMap",
    "Intrinsics",
    "Pose",
    "SensorFit",
    "blender_intrinsics",
    "check_depth",
    "mujoco_depth",
    "opengl_depth",
    "opengl_intrinsics",
    "planar_over_radial",
    "project",
    "ros_depth",
    "ros_intrinsics",
    "seed_grid",
    "seed_pixels",
    "seed_points",
    "seed_uv",
    "to_planar_metres",
    "unity_depth",
    "unity_intrinsics",
    "unproject",
    "unproject_pixels",
    "unreal_intrinsics",
    "visibility",
]
