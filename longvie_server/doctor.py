"""`longvie doctor`: is everything here, can the server be reached, is the tick stream sound? Findings, not printing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import bridge
from bridge.errors import BridgeError
from bridge.recording import Recording
from bridge.soundness import Severity, examine
from bridge.tick import CLIP_TICKS

if TYPE_CHECKING:
    import torch

__all__ = ["Check", "check_machine", "check_memory", "check_recording", "check_server", "check_tiny"]

_PASS_OPERATIONS: Final = 1.0e15
"""Of one pass of LongVie 2 through a clip with history."""
_REACHED_SHARE: Final = 0.7
"""Of a plain matrix product's rate, what a whole pass reaches; attention is slower."""

_PACKAGES: Final = {
    "numpy": "",
    "pyzmq": "",
    "grpcio": "",
    "torch": "server",
    "diffusers": "server",
    "transformers": "server",
    "open3d": "demo",
    "mcap": "recording",
    "zstandard": "zstd",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Args:
        name: of the thing.
        status: "ok", "warning" or "error".
        text: what was found.
        remedy: what to do about it; empty where all is well.
    """

    name: str
    status: str
    text: str
    remedy: str = ""


def check_machine() -> Iterator[Check]:
    """Yield what is installed and which device the model would run on."""
    version = platform.python_version()
    supported = (3, 10) <= sys.version_info[:2] <= (3, 13)
    yield Check(
        "python",
        "ok" if supported else "warning",
        f"{version} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "" if supported else "The client is tested on 3.10 to 3.13, the server on 3.10 to 3.12.",
    )
    for package, extra in _PACKAGES.items():
        try:
            yield Check(package, "ok", importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield Check(
                package, "warning", "not installed", f"pip install 'longvie-bridge[{extra}]'" if extra else "Reinstall."
            )
    if importlib.util.find_spec("torch"):
        yield from _check_devices()
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    yield Check(
        "disk", "ok" if free_gb > 2 else "warning", f"{free_gb:.0f} GB free here", "" if free_gb > 2 else "Make room."
    )


def check_tiny() -> Check:
    """Tell whether the bundled model loads."""
    from .world_model.registry import load_model

    try:
        spec = load_model("tiny", device="cpu").spec
    except BridgeError as error:
        return Check("tiny", "error", error.problem, error.remedy)
    return Check("tiny", "ok", f"loads: {spec.width} x {spec.height}, {spec.steps} steps")


def check_server(url: str, *, token: str, server_key: str, clock: Callable[[], float]) -> Iterator[Check]:
    """Yield whether a server answers, with what, and how fast."""
    began_s = clock()
    try:
        with bridge.connect(url, token=token, server_key=server_key, timeout_s=5.0) as server:
            took_ms = 1000 * (clock() - began_s)
            yield Check("server", "ok", f"{url} answered after {took_ms:.0f} ms")
            for model in server.models:
                yield Check(
                    "model", "ok", f"{model.name}: {model.width} x {model.height}, {model.fps} fps, {model.steps} steps"
                )
    except BridgeError as error:
        yield Check("server", "error", f"{error.problem} ({error.field} {error.value})", error.remedy)


def check_recording(path: Path) -> Iterator[Check]:
    """Yield whether the ticks of a recording are sound: its first three clips are looked at."""
    try:
        recording = Recording.open(path)
        ticks = list(islice(recording.ticks(), 3 * CLIP_TICKS))
    except BridgeError as error:
        yield Check("recording", "error", error.problem, error.remedy)
        return
    header = recording.header
    yield Check("recording", "ok", f"{recording.tick_count} ticks, tracks by {header.track_mode.value}")
    findings = examine(ticks)
    for finding in findings:
        figures = f" ({', '.join(str(figure) for figure in finding.figures)})" if finding.figures else ""
        status = "error" if finding.severity is Severity.ERROR else "warning"
        yield Check("ticks", status, f"{finding.sentence}{figures}", finding.remedy)
    if not findings:
        yield Check("ticks", "ok", f"{len(ticks)} ticks are sound: units, handedness, rows, points on the depth")


def _check_devices() -> Iterator[Check]:
    import torch

    from .world_model.longvie2.memory import free_bytes

    if not torch.cuda.is_available():
        yield Check("device", "ok", f"CPU, {torch.get_num_threads()} threads: `tiny` runs here, LongVie 2 needs a GPU")
        return
    for number in range(torch.cuda.device_count()):
        device = torch.device("cuda", number)
        properties = torch.cuda.get_device_properties(number)
        yield Check("device", "ok", f"{device} {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
        on_device, host = free_bytes(device)
        yield check_memory(device_bytes=on_device, host_bytes=host, rate=_matrix_rate(device))


def check_memory(*, device_bytes: int, host_bytes: int, rate: float) -> Check:
    """Tell how LongVie 2 would lie on a device, and how long a clip would take there: estimates, nothing is fetched.

    Args:
        device_bytes, host_bytes: that are free.
        rate: bf16 operations per second of a large matrix product on it.
    """
    from .world_model.longvie2 import LONGVIE2_14B
    from .world_model.longvie2.memory import choose_profile, footprint
    from .world_model.longvie2.quality import QUALITIES

    size = footprint()
    try:
        profile = choose_profile(size, device_bytes=device_bytes, host_bytes=host_bytes)
    except BridgeError as error:
        return Check("longvie2", "warning", f"{error.problem} (free: {error.value})", error.remedy)
    sampler = LONGVIE2_14B.num_inference_steps, LONGVIE2_14B.guidance_scale
    pass_s = _PASS_OPERATIONS / (_REACHED_SHARE * rate)
    times = ", ".join(f"{quality.name} {quality.passes(*sampler) * pass_s:.0f} s" for quality in QUALITIES)
    return Check(
        "longvie2",
        "ok",
        f"{profile.name}: {profile.summary}; about {profile.peak_bytes(size) / 1e9:.0f} GB on the device, "
        f"{profile.host_bytes(size) / 1e9:.0f} GB in the machine; "
        f"to denoise a clip at {rate / 1e12:.0f} TFLOP/s: {times}",
    )


def _matrix_rate(device: torch.device) -> float:
    """Operations per second of a bf16 matrix product as large as the model's."""
    import torch

    a, b = (torch.randn(8192, 8192, dtype=torch.bfloat16, device=device) for _ in range(2))
    best_s = float("inf")
    for _ in range(4):
        torch.cuda.synchronize(device)
        began_s = time.perf_counter()
        a @ b
        torch.cuda.synchronize(device)
        best_s = min(best_s, time.perf_counter() - began_s)
    return 2 * 8192**3 / best_s
