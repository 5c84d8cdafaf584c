"""The JSON messages of a recording: what Foxglove's schemas cannot hold exactly.

Numbers are written so that reading gives the same bits (Python prints the shortest text that does); what is not finite
is the text "inf", "-inf" or "nan", because JSON has no such number. Long arrays are little-endian bytes in base64.
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.camera import Camera, Intrinsics, Pose
from ..geometry.depth import DepthDeclaration, DepthKind
from ..geometry.fit import Fit
from ..tick import DepthRange, Frame, Instances, Tick, TrackMode, WorldState
from .header import SessionHeader
from .topics import FORMAT

__all__ = [
    "TickLine",
    "cut_line",
    "finish_line",
    "frame_line",
    "header_from",
    "header_line",
    "instances_from",
    "instances_line",
    "read",
    "seed_instances_from",
    "seed_instances_line",
    "state_from",
    "state_line",
    "tick_from",
    "tick_line",
]


@dataclass(frozen=True, slots=True)
class TickLine:
    """All of a tick but its arrays, and the topics that hold those."""

    index: int
    time_ns: int
    camera: Camera
    depth_declaration: DepthDeclaration
    parts: tuple[str, ...]


def read(data: bytes) -> dict[str, Any]:
    """Return the object of a JSON message.

    Raises:
        ValueError: it is no JSON object.
    """
    line = json.loads(data)
    if not isinstance(line, dict):
        raise ValueError("is no JSON object")
    return line


def header_line(header: SessionHeader, *, started_ns: int) -> bytes:
    """Return /session; the first frame has a topic of its own."""
    return _write(
        format=FORMAT,
        started_ns=started_ns,
        prompt=header.prompt,
        negative_prompt=header.negative_prompt,
        seed=int(header.seed),
        model=header.model,
        track_mode=TrackMode(header.track_mode).value,
        depth_range=_range_object(header.depth_range),
        fit=None if header.fit is None else Fit(header.fit).value,
        fps=int(header.fps),
        numerics=dict(header.numerics),
    )


def header_from(line: dict[str, Any], *, first_frame: NDArray[np.uint8]) -> SessionHeader:
    """Return the header of /session and its first frame, (height, width, 3) uint8."""
    return SessionHeader(
        prompt=line["prompt"],
        seed=line["seed"],
        model=line["model"],
        track_mode=TrackMode(line["track_mode"]),
        first_frame=first_frame,
        depth_range=_range(line["depth_range"]),
        fit=None if line["fit"] is None else Fit(line["fit"]),
        negative_prompt=line["negative_prompt"],
        fps=line["fps"],
        numerics=line["numerics"],
    )


def tick_line(tick: Tick, *, parts: tuple[str, ...]) -> bytes:
    """Return /tick; `parts` are the topics of its arrays."""
    lens, declared = tick.camera.intrinsics, tick.depth_declaration
    return _write(
        index=int(tick.index),
        time_ns=int(tick.time_ns),
        intrinsics={
            **{name: float(getattr(lens, name)) for name in ("fx_px", "fy_px", "cx_px", "cy_px")},
            "width": int(lens.width),
            "height": int(lens.height),
        },
        world_from_camera=tick.camera.world_from_camera.matrix.ravel().tolist(),
        depth_declaration={
            "kind": DepthKind(declared.kind).value,
            **{name: _number(getattr(declared, name)) for name in ("metres_per_unit", "near", "far")},
            "reversed_z": bool(declared.reversed_z),
            "bottom_row_first": bool(declared.bottom_row_first),
            "background": None if declared.background is None else _number(declared.background),
        },
        parts=parts,
    )


def tick_from(line: dict[str, Any]) -> TickLine:
    """Return what /tick says."""
    declared = line["depth_declaration"]
    return TickLine(
        index=line["index"],
        time_ns=line["time_ns"],
        camera=Camera(
            Intrinsics(**line["intrinsics"]),
            Pose(np.array(line["world_from_camera"], dtype=np.float64).reshape(4, 4)),
        ),
        depth_declaration=DepthDeclaration(
            kind=DepthKind(declared["kind"]),
            **{name: float(declared[name]) for name in ("metres_per_unit", "near", "far")},
            reversed_z=declared["reversed_z"],
            bottom_row_first=declared["bottom_row_first"],
            background=None if declared["background"] is None else float(declared["background"]),
        ),
        parts=tuple(line["parts"]),
    )


def instances_line(instances: Instances, *, index: int) -> bytes:
    """Return /instances: the exact transforms, scale included."""
    return _write(
        index=int(index), ids=instances.ids.tolist(), world_from_instance=_base64(instances.world_from_instance)
    )


def instances_from(line: dict[str, Any]) -> Instances:
    """Return the instances of one tick."""
    ids = np.array(line["ids"], dtype=np.uint32)
    return Instances(ids, _array(line["world_from_instance"], np.float64).reshape(len(ids), 4, 4))


def seed_instances_line(ids: NDArray[np.uint32], *, index: int) -> bytes:
    """Return /seed_instances: what is under each seed, (2500,) uint32."""
    return _write(index=int(index), ids=_base64(ids))


def seed_instances_from(line: dict[str, Any]) -> NDArray[np.uint32]:
    """Return what is under each seed, (2500,) uint32."""
    return _array(line["ids"], np.uint32)


def cut_line(*, at_tick: int, remeasure: bool) -> bytes:
    """Return /cut; the first frame has a topic of its own."""
    return _write(at_tick=int(at_tick), remeasure=bool(remeasure))


def finish_line(*, ticks: int) -> bytes:
    """Return /finish, with the number of ticks before it."""
    return _write(ticks=ticks)


def frame_line(frame: Frame) -> bytes:
    """Return /generated/info; the image has a topic of its own."""
    return _write(index=int(frame.index), time_ns=int(frame.time_ns), clip=int(frame.clip))


def state_line(state: WorldState) -> bytes:
    """Return /world_state; its frames and its anchor have topics of their own."""
    return _write(
        model=state.model,
        clip=int(state.clip),
        next_tick=int(state.next_tick),
        shares_tick=bool(state.shares_tick),
        seed=int(state.seed),
        prompt=state.prompt,
        negative_prompt=state.negative_prompt,
        depth_range=_range_object(state.depth_range),
        frames=len(state.frames),
        anchor=state.anchor is not None,
    )


def state_from(line: dict[str, Any], *, frames: NDArray[np.uint8], anchor: NDArray[np.uint8] | None) -> WorldState:
    """Return the state of /world_state, its frames, (n, height, width, 3) uint8, and its anchor."""
    return WorldState(
        model=line["model"],
        clip=line["clip"],
        next_tick=line["next_tick"],
        shares_tick=line["shares_tick"],
        seed=line["seed"],
        prompt=line["prompt"],
        frames=frames,
        negative_prompt=line["negative_prompt"],
        depth_range=_range(line["depth_range"]),
        anchor=anchor,
    )


def _write(**fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _number(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def _range_object(depth_range: DepthRange | None) -> dict[str, float | str] | None:
    if depth_range is None:
        return None
    return {"near_m": _number(depth_range.near_m), "far_m": _number(depth_range.far_m)}


def _range(line: dict[str, Any] | None) -> DepthRange | None:
    return None if line is None else DepthRange(float(line["near_m"]), float(line["far_m"]))


def _base64(array: NDArray[Any]) -> str:
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()).decode()


def _array(text: str, dtype: type[np.generic]) -> NDArray[Any]:
    raw = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.dtype(dtype).newbyteorder("<"))
    return raw.astype(dtype, copy=False)
