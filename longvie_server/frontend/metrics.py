"""What a server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bridge.messages import FrameMessage, ServerMessage

__all__ = ["Metrics"]

_CLIP_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000)


class Metrics:
    """The server's counters, on a registry of their own (several servers may live in one process)."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.peers = Gauge("longvie_peers", "Connected clients", registry=registry)
        self.sessions = Gauge("longvie_sessions", "Sessions kept, waiting ones included", registry=registry)
        self.ticks = Counter("longvie_ticks", "Ticks received", registry=registry)
        self.frames = Counter("longvie_frames", "Frames sent", registry=registry)
        self.frame_bytes = Counter("longvie_frame_bytes", "Bytes of frames sent", registry=registry)
        self.resumes = Counter("longvie_resumes", "Sessions resumed after a lost connection", registry=registry)
        self.refused = Counter("longvie_refused", "Connections refused, by error code", ["code"], registry=registry)
        self.clips = Counter("longvie_clips", "Clips generated", registry=registry)
        self.clips_repeated = Counter("longvie_clips_repeated", "Clips made again", registry=registry)
        self.worker_restarts = Counter("longvie_worker_restarts", "Worker processes started again", registry=registry)
        self.stage_seconds = Histogram(
            "longvie_clip_seconds", "Seconds per clip and stage", ["stage"], registry=registry, buckets=_CLIP_SECONDS
        )

    def clip(self, timings: Mapping[str, float]) -> None:
        """Count a finished clip and its seconds per stage."""
        self.clips.inc()
        for stage, seconds in timings.items():
            self.stage_seconds.labels(stage=stage).observe(seconds)

    def count(self, message: ServerMessage) -> None:
        """Count a message that is sent."""
        if isinstance(message, FrameMessage):
            self.frames.inc()
            self.frame_bytes.inc(len(message.image.data))
