"""A world model's clips, stage by stage, beside the floor that the machine sets.

The floor of a denoising pass: its linear operations at the rate of a plain matrix product, and its attention's at the
rate of plain attention, both of the model's own shapes, measured in the same run. Clips follow each other through
history; the first one warms up and is not counted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from bridge.errors import InvalidValue
from bridge.tick import CLIP_STRIDE, FPS, DepthRange, WorldState

from ..control.encode import encode_controls
from ..world_model.interface import ControlClip, StepFrames, StepProgress, new_state
from ..world_model.longvie2 import LONGVIE2_14B, LongVie2Config, LongVie2Pipeline, LongVie2WorldModel, build
from ..world_model.longvie2.checkpoint import make_ready
from ..world_model.longvie2.configs import ImageEncoderSize, TextEncoderSize, TransformerSize, VaeSize
from ..world_model.longvie2.quality import quality_named
from ..world_model.options import RunOptions
from ..world_model.registry import load_model
from .control import bench_geometry
from .floor import attention_rate, clip_tokens, linear_rate, operations, synchronise

__all__ = ["RANDOM_SIZES", "ModelBench", "bench_model"]

REAL_TIME_S: Final = CLIP_STRIDE / FPS
"""A clip brings 80 new frames, which are shown in 5 seconds."""
_DEFAULTS: Final = RunOptions()
_HOW: Final = ("quality", "memory", "attention", "products", "compiled", "decoder", "guidance")
"""The numerics that say how a model was run."""

_SMALL: Final = LongVie2Config(
    height=64,
    width=96,
    num_inference_steps=10,
    guidance_scale=5.0,
    shift=5.0,
    negative_prompt="blurry",
    transformer=TransformerSize(
        num_attention_heads=4,
        attention_head_dim=24,
        text_dim=32,
        freq_dim=64,
        ffn_dim=256,
        num_layers=4,
        image_dim=32,
        control_num_layers=2,
        control_num_attention_heads=2,
        control_ffn_dim=128,
    ),
    vae=VaeSize(base_dim=8, decoder_base_dim=8, num_res_blocks=1),
    text_encoder=TextEncoderSize(vocab_size=384, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2),
    image_encoder=ImageEncoderSize(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16
    ),
)
RANDOM_SIZES: Final = {"random-14b": LONGVIE2_14B, "random-small": _SMALL}
"""Sizes of LongVie 2 with random weights: speed does not ask what the weights are."""


@dataclass(frozen=True, slots=True)
class ModelBench:
    """What was measured, per clip and in seconds where not said otherwise; the best of the counted clips.

    Args:
        model, device, dtype, threads: what ran, and on what.
        quality, memory, attention, products, compiled, decoder, guidance: how it was run, as the numerics spell it.
        steps, passes: denoising steps of a clip, and the passes through the transformer that were computed for them.
        clips: that were counted.
        seconds_per_clip: control signals to the last frame.
        control_s, encode_s, denoise_s, decode_s: its stages.
        first_frame_s: from the clip's last tick to its first frame.
        first_frame_share: of the decoding that is done when the first frame leaves.
        linear_flop, attention_flop: of one pass, once a clip's constants are kept.
        linear_rate, attention_rate: operations per second of plain ones of the same shapes.
        peak_memory_bytes: on the device; on a CPU the process's.
    """

    model: str
    device: str
    dtype: str
    threads: int
    quality: str
    memory: str
    attention: str
    products: str
    compiled: str
    decoder: str
    guidance: str
    height: int
    width: int
    steps: int
    passes: int
    clips: int
    seconds_per_clip: float
    control_s: float
    encode_s: float
    denoise_s: float
    decode_s: float
    first_frame_s: float
    first_frame_share: float
    linear_flop: int
    attention_flop: int
    linear_rate: float
    attention_rate: float
    peak_memory_bytes: int

    @property
    def seconds_per_pass(self) -> float:
        """Of the transformer."""
        return self.denoise_s / self.passes

    @property
    def floor_s(self) -> float:
        """Of one pass."""
        return self.linear_flop / self.linear_rate + self.attention_flop / self.attention_rate

    @property
    def over_floor(self) -> float:
        """A pass over its floor."""
        return self.seconds_per_pass / self.floor_s

    def as_json(self) -> dict[str, Any]:
        """Return all figures by name."""
        derived = ("seconds_per_pass", "floor_s", "over_floor")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}

    def table_rows(self) -> list[tuple[str, str, str]]:
        """Return (what, measured, wanted) as text, for a table."""
        stages = {
            "control": self.control_s,
            "encode": self.encode_s,
            "denoise": self.denoise_s,
            "decode": self.decode_s,
        }
        return [
            ("model", f"{self.model}, {self.height} x {self.width}, {self.steps} steps, {self.passes} passes", ""),
            ("device", f"{self.device}, {self.dtype}, {self.threads} threads", ""),
            ("run", f"{self.quality}, {self.memory}, attention {self.attention}, guidance {self.guidance}", ""),
            ("  blocks", f"{'compiled' if self.compiled == 'true' else 'as they are'}, {self.products} products", ""),
            ("  decoder", self.decoder, ""),
            ("a clip", f"{self.seconds_per_clip:.2f} s", f"{REAL_TIME_S:g} s is real time"),
            *(
                (f"  {stage}", f"{seconds:.3f} s, {seconds / self.seconds_per_clip:.0%}", "")
                for stage, seconds in stages.items()
            ),
            ("first frame after the last tick", f"{self.first_frame_s:.2f} s", ""),
            ("  decoding done by then", f"{self.first_frame_share:.1%}", "less than 10 %"),
            ("a pass", f"{self.seconds_per_pass:.3f} s", ""),
            ("  linear", f"{self.linear_flop / 1e12:.3f} TFLOP at {self.linear_rate / 1e12:.3f} TFLOP/s", ""),
            ("  attention", f"{self.attention_flop / 1e12:.3f} TFLOP at {self.attention_rate / 1e12:.3f} TFLOP/s", ""),
            ("  floor", f"{self.floor_s:.3f} s; a pass is {self.over_floor:.2f} x that", "at most 1.25 x on a GPU"),
            ("peak memory", f"{self.peak_memory_bytes / 1e9:.2f} GB", ""),
        ]


@dataclass(slots=True)
class _Clip:
    """Moments of one clip, seconds from its last tick on."""

    control: float = 0.0
    encode: float = 0.0
    denoise: float = 0.0
    first_frame: float = 0.0
    end: float = 0.0


def bench_model(
    model: str,
    *,
    clips: int = 2,
    steps: int | None = None,
    device: str = "auto",
    options: RunOptions = _DEFAULTS,
    on_clip: Callable[[NDArray[np.uint8]], None] = lambda frames: None,
) -> ModelBench:
    """Generate clips and measure.

    Args:
        model: a world model's name, or one of `RANDOM_SIZES`.
        clips: to count, after one that warms up.
        steps: denoising steps in place of the checkpoint's own.
        device: where the weights go.
        options: how it is run.
        on_clip: given each clip's frames, (81, height, width, 3), outside the time that is measured.

    Raises:
        InvalidValue: the model is no LongVie 2, or is not there; an option cannot be had here.
    """
    if steps is not None and options.quality != "final":
        raise InvalidValue(
            "says its own number of steps", field="--quality", value=options.quality, remedy="Leave --steps out."
        )
    world = _load(model, steps=steps, device=device, options=options)
    spec = world.spec
    geometry = bench_geometry(height=spec.height, width=spec.width)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (spec.height, spec.width, 3), np.uint8)
    state = new_state(spec, first_frame=image, prompt="a street in the rain", seed=0)
    _reset_peak(world.pipeline)
    measured: list[_Clip] = []
    for _ in range(1 + clips):
        began = time.perf_counter()
        controls = encode_controls(geometry, DepthRange(1.0, float("inf")), height=spec.height, width=spec.width)
        moments = _Clip(control=time.perf_counter() - began)
        state, frames = _run(world, state, controls, moments, began)
        on_clip(frames)
        measured.append(moments)
    best = min(measured[1:], key=lambda clip: clip.end)
    peak = _peak(world.pipeline)
    linear, attention = operations(world.pipeline, state, controls)
    how = {name: spec.numerics[name] for name in _HOW}
    return ModelBench(
        **how,
        model=model,
        device=spec.numerics["hardware"],
        dtype=spec.numerics["dtype"],
        threads=torch.get_num_threads(),
        height=spec.height,
        width=spec.width,
        steps=spec.steps,
        passes=quality_named(how["quality"]).passes(spec.steps, world.guidance_scale),
        clips=clips,
        seconds_per_clip=best.end,
        control_s=best.control,
        encode_s=best.encode - best.control,
        denoise_s=best.denoise - best.encode,
        decode_s=best.end - best.denoise,
        first_frame_s=best.first_frame,
        first_frame_share=(best.first_frame - best.denoise) / (best.end - best.denoise),
        linear_flop=linear,
        attention_flop=attention,
        linear_rate=linear_rate(world.pipeline, clip_tokens(world.pipeline)),
        attention_rate=attention_rate(world.pipeline, clip_tokens(world.pipeline)),
        peak_memory_bytes=peak,
    )


def _load(model: str, *, steps: int | None, device: str, options: RunOptions) -> LongVie2WorldModel:
    if model in RANDOM_SIZES:
        where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        # What is free is asked for before the weights are there, and these are made in their place.
        options = replace(options, memory="resident") if options.memory == "auto" else options
        pipeline = _random(RANDOM_SIZES[model], where if options.memory == "resident" else torch.device("cpu"), where)
        make_ready(pipeline, where, options, random_weights=True)
        return LongVie2WorldModel(pipeline, name=model, steps=steps)
    world = load_model(model, device=device, options=options)
    if not isinstance(world, LongVie2WorldModel):
        raise InvalidValue(
            "is no LongVie 2, so it has no stages to measure",
            field="--model",
            value=model,
            remedy=f"Use tiny, longvie2, a checkpoint folder, or {' or '.join(RANDOM_SIZES)}.",
        )
    return world if steps is None else LongVie2WorldModel(world.pipeline, name=model, steps=steps)


def _random(size: LongVie2Config, device: torch.device, used_on: torch.device) -> LongVie2Pipeline:
    """Weights made where they stay: the 14 B model's need not pass through the machine's own memory."""
    dtype = torch.bfloat16 if used_on.type == "cuda" else torch.float32
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            pipeline = build(size, seed=0)
    finally:
        torch.set_default_dtype(before)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _run(
    world: LongVie2WorldModel, state: WorldState, controls: ControlClip, clip: _Clip, began: float
) -> tuple[WorldState, NDArray[np.uint8]]:
    frames: list[NDArray[np.uint8]] = []
    events = world.step(state, controls)
    while True:
        try:
            event = next(events)
        except StopIteration as stop:
            clip.end = time.perf_counter() - began
            after: WorldState = stop.value
            # The next clip's noise is the same; its prompt is another, so that no memory of prompts flatters it.
            return replace(after, prompt=f"{state.prompt} still"), np.concatenate(frames)
        now = time.perf_counter() - began
        if isinstance(event, StepFrames):
            clip.first_frame = clip.first_frame or now
            frames.append(event.frames)
        elif isinstance(event, StepProgress) and event.step == event.steps and event.stage in ("encode", "denoise"):
            _wait(world.pipeline)
            setattr(clip, event.stage, time.perf_counter() - began)


def _wait(pipeline: LongVie2Pipeline) -> None:
    synchronise(pipeline._execution_device)


def _reset_peak(pipeline: LongVie2Pipeline) -> None:
    if pipeline._execution_device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(pipeline._execution_device)


def _peak(pipeline: LongVie2Pipeline) -> int:
    """Bytes on the device at the worst moment; on a CPU the process's."""
    device = pipeline._execution_device
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
