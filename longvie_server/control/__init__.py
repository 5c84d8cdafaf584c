"""Control signals: ticks of one clip become the dense and the sparse control video."""

from .canvas import CANVAS_HEIGHT, CANVAS_WIDTH, canvas_from_uv, uv_from_canvas
from .clip_geometry import ClipGeometry
from .dense import encode_dense, measure_depth_range, measured_frames, saturated_fraction
from .encode import encode_controls
from .resize import resize_bicubic
from .sparse import SparsePainter, paint_sparse

__all__ = [
    "CANVAS_HEIGHT",
    "CANVAS_WIDTH",
    "ClipGeometry",
    "SparsePainter",
    "canvas_from_uv",
    "encode_controls",
    "encode_dense",
    "measure_depth_range",
    "measured_frames",
    "paint_sparse",
    "resize_bicubic",
    "saturated_fraction",
    "uv_from_canvas",
]
