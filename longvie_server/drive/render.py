"""Render a recording again: the same ticks, with another prompt, seed, first frame or model if you like."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bridge
from bridge.errors import InvalidValue
from bridge.geometry.fit import Fit, FitMap
from bridge.planes import load_image
from bridge.recording import Event, Recording
from bridge.session import SessionOptions
from bridge.tick import DepthRange

from ..control.dense import measure_depth_range, measured_frames
from ..output.folder import OutputFolder
from .server_process import ServerProcess
from .shot import ShotProgress, drive_shot

__all__ = ["DEPTH_RANGES", "RenderRequest", "first_tick", "render_recording", "whole_range"]

DEPTH_RANGES = ("whole", "recorded")
"""whole: measured over the recording, as the paper does, unless one was declared. recorded: as the session had it."""


class RenderRequest:
    """What to change of a recording.

    Args:
        prompt, seed, first_frame, fit: None keeps the recording's.
        depth_range: one of `DEPTH_RANGES`.
    """

    def __init__(
        self,
        *,
        prompt: str | None = None,
        seed: int | None = None,
        first_frame: Path | None = None,
        fit: Fit | None = None,
        depth_range: str = "whole",
    ) -> None:
        if depth_range not in DEPTH_RANGES:
            raise InvalidValue(
                "unknown", field="--depth-range", value=depth_range, remedy=f"Use {' or '.join(DEPTH_RANGES)}."
            )
        self.prompt, self.seed, self.first_frame = prompt, seed, first_frame
        self.fit, self.depth_range = fit, depth_range


class _References:
    """A recording's reference pictures, read alongside its frames."""

    def __init__(self, recording: Recording) -> None:
        self._pictures = recording.references()
        self._held: tuple[int, NDArray[np.uint8]] | None = next(self._pictures, None)

    def take(self, index: int) -> NDArray[np.uint8] | None:
        while self._held is not None and self._held[0] < index:
            self._held = next(self._pictures, None)
        return self._held[1] if self._held is not None and self._held[0] == index else None


def whole_range(recording: Recording, *, height: int, width: int, fit: Fit | None) -> DepthRange:
    """Return p5 and p95 over a whole recording, at the model's size, as the paper's data was made.

    Args:
        recording: read once more for this.
        height, width: of the model's frames.
        fit: how another aspect is met.
    """
    count = measured_frames(recording.tick_count)

    def depths() -> Iterator[NDArray[np.float32]]:
        for number, (_, depth) in enumerate(recording.depths()):
            if number >= count:
                return
            yield FitMap.between((depth.shape[1], depth.shape[0]), (width, height), fit=fit).depth(depth)

    return measure_depth_range(depths())


def render_recording(
    recording: Recording,
    request: RenderRequest,
    *,
    out: Path,
    force: bool,
    model: str,
    server_url: str,
    token: str,
    on_progress: ShotProgress,
) -> dict[str, Any]:
    """Generate from a recording and leave a folder behind; return its summary.

    Args:
        recording: what the engine sent.
        request: what to change.
        out: the folder.
        force: replace an earlier run in it.
        model: that a server of our own loads; empty for the recording's. Unused with a URL.
        server_url: an existing server; empty starts one.
        token: of that server.
        on_progress: is told after every change.

    Raises:
        BridgeError: the recording is damaged, the server did not start, or the session failed.
    """
    header = recording.header
    with ExitStack() as stack:
        folder = stack.enter_context(OutputFolder(out, force=force))
        if not server_url:
            process = stack.enter_context(ServerProcess(model or header.model, log=out / "server.log"))
            server_url = process.endpoint
        server = stack.enter_context(bridge.connect(server_url, token=token))
        info = server.models[0]
        fit = request.fit or header.fit
        depth_range = header.depth_range
        if depth_range is None and request.depth_range == "whole":
            depth_range = whole_range(recording, height=info.height, width=info.width, fit=fit)
        first_frame = (
            header.first_frame if request.first_frame is None else load_image(request.first_frame, name="--first-frame")
        )
        prompt = header.prompt if request.prompt is None else request.prompt
        seed = header.seed if request.seed is None else request.seed
        session = stack.enter_context(
            server.open(
                prompt=prompt,
                first_frame=first_frame,
                seed=seed,
                negative_prompt=header.negative_prompt,
                tracks=header.track_mode,
                depth_range=depth_range,
                fit=fit.value if fit else "",
                first_tick=first_tick(recording),
                options=SessionOptions(record_to=folder.recording),
            )
        )
        facts = {
            "model": info.name,
            "recording": str(recording.path),
            "seed": seed,
            "prompt": prompt,
            "depth_range": None if depth_range is None else [depth_range.near_m, depth_range.far_m],
        }
        return drive_shot(
            session,
            _events(recording, keep_prompts=request.prompt is None),
            folder=folder,
            mode=header.track_mode,
            fit=fit,
            depth_range=depth_range,
            reference=_References(recording).take,
            on_progress=on_progress,
            facts=facts,
        )


def first_tick(recording: Recording) -> int:
    """Return the index of a recording's first tick.

    Raises:
        InvalidValue: it holds none.
    """
    first = next(iter(recording.ticks()), None)
    if first is None:
        raise InvalidValue(
            "holds no tick", field="recording", value=recording.path, remedy="Record a session that sends at least one."
        )
    return first.index


def _events(recording: Recording, *, keep_prompts: bool) -> Iterator[Event]:
    from bridge.recording import PromptEvent

    for event in recording.events():
        if keep_prompts or not isinstance(event, PromptEvent):
            yield event
