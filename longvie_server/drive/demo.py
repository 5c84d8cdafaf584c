"""The demo: a server process of our own, the built-in engine, and a folder to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bridge
from bridge.session import SessionOptions
from bridge.tick import CLIP_STRIDE, Tick, TrackMode

from ..output.folder import OutputFolder
from .server_process import ServerProcess
from .shot import ShotProgress, drive_shot

__all__ = ["run_demo"]


class _Engine:
    """The built-in engine, keeping its pictures until their frames are back."""

    def __init__(self, *, family: str, seed: int, width: int, height: int) -> None:
        from engine_plugins.builtin import BuiltinEngine, make_scene

        self.scene = make_scene(family, seed)
        self._engine = BuiltinEngine(self.scene, width=width, height=height, track_mode=TrackMode.ENGINE)
        self._pictures: dict[int, NDArray[np.uint8]] = {}

    def picture(self, index: int) -> NDArray[np.uint8]:
        return self._engine.render(index).rgb

    def ticks(self, count: int, session: bridge.Session) -> Iterator[Tick]:
        for tick in self._engine.ticks(count):
            picture = self._pictures[tick.index] = self.picture(tick.index)
            session.record_reference(tick.index, picture)
            yield tick

    def take_picture(self, index: int) -> NDArray[np.uint8] | None:
        return self._pictures.pop(index, None)


def run_demo(
    *,
    out: Path,
    model: str,
    clips: int,
    family: str,
    scene_seed: int,
    seed: int,
    prompt: str,
    force: bool,
    on_progress: ShotProgress,
) -> dict[str, Any]:
    """Drive a server through a scene and leave a folder behind; return its summary.

    Args:
        out: the folder.
        model: that the server loads.
        clips: how many, 80 ticks each and one more.
        family, scene_seed: which scene.
        seed: of the video's noise.
        prompt: empty for the scene's own description.
        force: replace an earlier run in the folder.
        on_progress: is told after every change.

    Raises:
        BridgeError: the server did not start, or the session failed.
    """
    with (
        OutputFolder(out, force=force) as folder,
        ServerProcess(model, log=out / "server.log") as process,
        bridge.connect(process.endpoint) as server,
    ):
        info = server.models[0]
        engine = _Engine(family=family, seed=scene_seed, width=info.width, height=info.height)
        text = prompt or engine.scene.caption
        with server.open(
            prompt=text,
            first_frame=engine.picture(0),
            seed=seed,
            tracks=TrackMode.ENGINE,
            options=SessionOptions(record_to=folder.recording),
        ) as session:
            return drive_shot(
                session,
                engine.ticks(clips * CLIP_STRIDE + 1, session),
                folder=folder,
                mode=TrackMode.ENGINE,
                fit=None,
                depth_range=None,
                reference=engine.take_picture,
                on_progress=on_progress,
                facts={"model": info.name, "scene": f"{family} {scene_seed}", "seed": seed, "prompt": text},
            )
