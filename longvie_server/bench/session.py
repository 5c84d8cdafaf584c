"""Memory over a long session: 60 clips with the fake model through a real server, of client and server both."""

from __future__ import annotations

import gc
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psutil

import bridge
from bridge.tick import CLIP_STRIDE

from ..drive.server_process import ServerProcess

__all__ = ["GROWTH_WANTED_MIB", "SessionBench", "bench_session"]

GROWTH_WANTED_MIB: Final = 32.0
"""Memory after the last clip is at most this above the third clip's."""
_SETTLED_CLIP: Final = 3
_HEIGHT: Final = 176
_WIDTH: Final = 320


@dataclass(frozen=True, slots=True)
class SessionBench:
    """Resident memory in MiB, of the client and of the server with its worker, after the third and the last clip."""

    clips: int
    frames: int
    client_third_mib: float
    client_last_mib: float
    server_third_mib: float
    server_last_mib: float

    @property
    def client_growth_mib(self) -> float:
        """From the third clip to the last."""
        return self.client_last_mib - self.client_third_mib

    @property
    def server_growth_mib(self) -> float:
        """From the third clip to the last."""
        return self.server_last_mib - self.server_third_mib

    def as_json(self) -> dict[str, float | int | bool]:
        """Return all figures by name."""
        grown = {"client_growth_mib": self.client_growth_mib, "server_growth_mib": self.server_growth_mib}
        return {**asdict(self), **grown, "passed": max(grown.values()) <= GROWTH_WANTED_MIB}

    def table_rows(self) -> list[tuple[str, str, str]]:
        """Return (what, measured, wanted) as text, for a table."""
        wanted = f"at most {GROWTH_WANTED_MIB:g} MiB"
        return [
            ("clips, frames", f"{self.clips}, {self.frames}", ""),
            ("client, third clip", f"{self.client_third_mib:.0f} MiB", ""),
            ("client, growth", f"{self.client_growth_mib:+.1f} MiB", wanted),
            ("server, third clip", f"{self.server_third_mib:.0f} MiB", ""),
            ("server, growth", f"{self.server_growth_mib:+.1f} MiB", wanted),
        ]


def bench_session(*, clips: int = 60) -> SessionBench:
    """Run one long session and measure.

    Args:
        clips: at least 4.
    """
    frames = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(f"fake:{_HEIGHT}x{_WIDTH}", log=Path(folder) / "server.log") as process,
        bridge.connect(process.endpoint) as server,
        server.open(
            prompt="memory",
            first_frame=np.zeros((_HEIGHT, _WIDTH, 3), np.uint8),
            depth_range=bridge.DepthRange(1.0, float("inf")),
            frame_encoding="raw",
        ) as session,
    ):
        third = (0.0, 0.0)
        rng = np.random.default_rng(0)
        lens = bridge.Intrinsics.from_fov(fov_x_rad=1.2, width=_WIDTH, height=_HEIGHT)
        for index in range(clips * CLIP_STRIDE + 1):
            depth = rng.uniform(1.0, 50.0, (_HEIGHT, _WIDTH)).astype(np.float32)
            session.send(bridge.Tick(index=index, camera=bridge.Camera(lens), depth=depth))
            frames += sum(1 for _ in session.arrived())
            done = session.last_clip
            if done is not None and done.clip == _SETTLED_CLIP - 1:
                third = _memory_mib(process.pid)
        frames += sum(1 for _ in session.frames())
        last = _memory_mib(process.pid)
    return SessionBench(clips, frames, third[0], last[0], third[1], last[1])


def _memory_mib(server_pid: int) -> tuple[float, float]:
    gc.collect()
    server = psutil.Process(server_pid)
    both = [server, *server.children(recursive=True)]
    return _mib(psutil.Process()), sum(map(_mib, both))


def _mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss / 2**20)
