"""Ticks into a session, beside a bare stream of the same parts: what validation, credit and receipts cost.

A tick is 640 x 352 float32 depth and 2,500 points. Ours is a real client and a real server in two processes: the tick
is encoded, sent, decoded, validated, reduced to control geometry, accepted and receipted. A round is 80 ticks of one
session, one short of a clip, so that what is timed is the wire and not the painting; the bare stream runs the same
ticks under the same credit.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psutil

import bridge
from bridge.codecs import msgpack_codec, protobuf_codec
from bridge.protocol.values import tick_to_message

from ..drive.server_process import ServerProcess
from ..session.session import CREDIT_TICKS
from .bare import bare_grpc, bare_zeromq

__all__ = ["SHARE_WANTED", "WireBench", "bench_wire"]

SHARE_WANTED: Final = 0.5
"""Our ticks per second over the bare stream's is at least this."""
_HEIGHT: Final = 352
_WIDTH: Final = 640
_ROUND: Final = 80
_LATENCIES: Final = 79


@dataclass(frozen=True, slots=True)
class WireBench:
    """What was measured; the best of the repeats of each side.

    Args:
        transport: zeromq or grpc.
        tick_bytes: of one tick on the wire.
        ticks_per_s: into a session, receipts included.
        bare_ticks_per_s: of the bare stream.
        latency_p50_ms, latency_p99_ms: from `send` to the receipt, one tick under way at a time.
        client_cpu_ms, server_cpu_ms: processor time per tick.
    """

    transport: str
    tick_bytes: int
    ticks_per_s: float
    bare_ticks_per_s: float
    latency_p50_ms: float
    latency_p99_ms: float
    client_cpu_ms: float
    server_cpu_ms: float

    @property
    def share(self) -> float:
        """Ours over the bare stream."""
        return self.ticks_per_s / self.bare_ticks_per_s

    def as_json(self) -> dict[str, float | int | str | bool]:
        """Return all figures by name."""
        return {**asdict(self), "share": self.share, "passed": self.share >= SHARE_WANTED}

    def table_rows(self) -> list[tuple[str, str, str]]:
        """Return (what, measured, wanted) as text, for a table."""
        rate = self.tick_bytes / 1e6
        return [
            ("ticks into a session", f"{self.ticks_per_s:.0f} / s, {self.ticks_per_s * rate:.0f} MB/s", ""),
            ("bare stream", f"{self.bare_ticks_per_s:.0f} / s, {self.bare_ticks_per_s * rate:.0f} MB/s", ""),
            ("ours over bare", f"{self.share:.2f}", f"at least {SHARE_WANTED:g}"),
            ("receipt latency p50, p99", f"{self.latency_p50_ms:.2f} ms, {self.latency_p99_ms:.2f} ms", ""),
            ("CPU per tick, client", f"{self.client_cpu_ms:.3f} ms", ""),
            ("CPU per tick, server", f"{self.server_cpu_ms:.3f} ms", ""),
        ]


def bench_wire(transport: str, *, ticks: int = 600, repeats: int = 3) -> WireBench:
    """Measure one transport.

    Args:
        transport: zeromq or grpc.
        ticks: per side and repeat, in rounds of 80.
        repeats: sides are measured in turn; the best of each counts.
    """
    made = _ticks()
    message = tick_to_message(made[1], session="s-0123456789ab", seq=1)
    parts = [bytes(part) for part in msgpack_codec.encode(message)]
    rounds = max(1, ticks // _ROUND)
    ours: list[float] = []
    bare: list[float] = []
    cpu: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        with ServerProcess(f"fake:{_HEIGHT}x{_WIDTH}", log=log, flags=["--grpc", "127.0.0.1:0"]) as process:
            url = process.endpoint if transport == "zeromq" else process.grpc
            with bridge.connect(url) as server:
                _round(server, made)  # warm
                for _ in range(repeats):
                    before = _cpu_s(process.pid)
                    ours.append(rounds * _ROUND / sum(_round(server, made) for _ in range(rounds)))
                    after = _cpu_s(process.pid)
                    per_tick_ms = 1000 / (rounds * _ROUND)
                    cpu.append(((after[0] - before[0]) * per_tick_ms, (after[1] - before[1]) * per_tick_ms))
                    if transport == "zeromq":
                        bare.append(bare_zeromq(parts, ticks=rounds * _ROUND, credit=CREDIT_TICKS))
                    else:
                        data = protobuf_codec.encode(message)
                        bare.append(bare_grpc(data, ticks=rounds * _ROUND, credit=CREDIT_TICKS))
                latencies = [1000 * s for _ in range(3) for s in _latencies(server, made)]
    return WireBench(
        transport=transport,
        tick_bytes=sum(map(len, parts)),
        ticks_per_s=max(ours),
        bare_ticks_per_s=max(bare),
        latency_p50_ms=float(np.percentile(latencies, 50)),
        latency_p99_ms=float(np.percentile(latencies, 99)),
        client_cpu_ms=min(client for client, _ in cpu),
        server_cpu_ms=min(server for _, server in cpu),
    )


def _ticks() -> list[bridge.Tick]:
    rng = np.random.default_rng(0)
    lens = bridge.Intrinsics.from_fov(fov_x_rad=1.2, width=_WIDTH, height=_HEIGHT)
    depth = rng.uniform(1.0, 50.0, (_HEIGHT, _WIDTH)).astype(np.float32)
    points = np.ones((bridge.TRACK_COUNT, 4), np.float32)
    points[:, :3] = rng.uniform(-1.0, 1.0, (bridge.TRACK_COUNT, 3))
    points[:, 2] += 5.0
    visibility = np.zeros(bridge.TRACK_COUNT, np.uint8)
    for array in (depth, points, visibility):
        array.flags.writeable = False  # an engine that fills new buffers: nothing has to be copied
    tracks = bridge.TrackSet(points, visibility)
    return [
        bridge.Tick(
            index=index,
            camera=bridge.Camera(lens),
            depth=depth,
            tracks=tracks if index else None,
            seeds=None if index else tracks,
        )
        for index in range(_ROUND)
    ]


def _open(server: bridge.Server) -> bridge.Session:
    image = np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)
    return server.open(
        prompt="wire", first_frame=image, tracks="engine", depth_range=bridge.DepthRange(1.0, float("inf"))
    )


def _round(server: bridge.Server, ticks: list[bridge.Tick]) -> float:
    with _open(server) as session:
        began_s = time.perf_counter()
        for tick in ticks:
            session.send(tick)
        session.wait_until(lambda s: s.accepted_tick == ticks[-1].index, timeout_s=60)
        return time.perf_counter() - began_s


def _latencies(server: bridge.Server, ticks: list[bridge.Tick]) -> list[float]:
    seconds: list[float] = []
    with _open(server) as session:
        for tick in ticks[:_LATENCIES]:
            began_s = time.perf_counter()
            session.send(tick)
            session.wait_until(lambda s, index=tick.index: s.accepted_tick == index, timeout_s=60)  # type: ignore[misc]
            seconds.append(time.perf_counter() - began_s)
    return seconds


def _cpu_s(server_pid: int) -> tuple[float, float]:
    here, there = psutil.Process().cpu_times(), psutil.Process(server_pid).cpu_times()
    return here.user + here.system, there.user + there.system
