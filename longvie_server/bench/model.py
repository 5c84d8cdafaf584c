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
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bridge.errors import InvalidValue
from bridge.tick import CLIP_STRIDE, FPS, DepthRange, WorldState

from ..control.encode import encode_controls
from ..world_model.interface import ControlClip, StepFrames, StepProgress, new_state
from ..world_model.longvie2 import LONGVIE2_14B, LongVie2Config, LongVie2Pipeline, LongVie2WorldModel, build
from ..world_model.longvie2.configs import ImageEncoderSize, TextEncoderSize, TransformerSize, VaeSize
from ..world_model.longvie2.memo import ClipMemo, PassMemo
from ..world_model.longvie2.pipeline import ClipInput
from ..world_model.longvie2.transformer import LongVie2Transformer3DModel
from ..world_model.registry import load_model
from .control import bench_geometry

__all__ = ["RANDOM_SIZES", "ModelBench", "bench_model"]

REAL_TIME_S: Final = CLIP_STRIDE / FPS
"""A clip brings 80 new frames, which are shown in 5 seconds."""
_RATE_S: Final = 0.3
_RATE_REPEATS: Final = 5

_SMALL: Final = LongVie2Config(
    height=64,
    width=96,
    num_inference_steps=4,
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
        steps, passes: denoising steps of a clip, and passes through the transformer (two per step with guidance).
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


def bench_model(model: str, *, clips: int = 2, steps: int | None = None, device: str = "auto") -> ModelBench:
    """Generate clips and measure.

    Args:
        model: a world model's name, or one of `RANDOM_SIZES`.
        clips: to count, after one that warms up.
        steps: denoising steps in place of the checkpoint's own.
        device: where the weights go.

    Raises:
        InvalidValue: the model is no LongVie 2, or is not there.
    """
    world = _load(model, steps=steps, device=device)
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
        state = _run(world, state, controls, moments, began)
        measured.append(moments)
    best = min(measured[1:], key=lambda clip: clip.end)
    peak = _peak(world.pipeline)
    linear, attention = _operations(world.pipeline, state, controls)
    transformer = world.pipeline.transformer
    guided = world.guidance_scale != 1
    return ModelBench(
        model=model,
        device=spec.numerics["hardware"],
        dtype=spec.numerics["dtype"],
        threads=torch.get_num_threads(),
        height=spec.height,
        width=spec.width,
        steps=spec.steps,
        passes=spec.steps * (2 if guided else 1),
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
        linear_rate=_linear_rate(transformer, _tokens(world.pipeline)),
        attention_rate=_attention_rate(transformer, _tokens(world.pipeline)),
        peak_memory_bytes=peak,
    )


def _load(model: str, *, steps: int | None, device: str) -> LongVie2WorldModel:
    if model in RANDOM_SIZES:
        where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        return LongVie2WorldModel(_random(RANDOM_SIZES[model], where), name=model, steps=steps)
    world = load_model(model, device=device)
    if not isinstance(world, LongVie2WorldModel):
        raise InvalidValue(
            "is no LongVie 2, so it has no stages to measure",
            field="--model",
            value=model,
            remedy=f"Use tiny, longvie2, a checkpoint folder, or {' or '.join(RANDOM_SIZES)}.",
        )
    return world if steps is None else LongVie2WorldModel(world.pipeline, name=model, steps=steps)


def _random(size: LongVie2Config, device: torch.device) -> LongVie2Pipeline:
    """Weights made where they are used: the 14 B model's never pass through the machine's own memory."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            pipeline = build(size, seed=0)
    finally:
        torch.set_default_dtype(before)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _run(world: LongVie2WorldModel, state: WorldState, controls: ControlClip, clip: _Clip, began: float) -> WorldState:
    events = world.step(state, controls)
    while True:
        try:
            event = next(events)
        except StopIteration as stop:
            clip.end = time.perf_counter() - began
            after: WorldState = stop.value
            # The next clip's noise is the same; its prompt is another, so that no memory of prompts flatters it.
            return replace(after, prompt=f"{state.prompt} still")
        now = time.perf_counter() - began
        if isinstance(event, StepFrames):
            clip.first_frame = clip.first_frame or now
        elif isinstance(event, StepProgress) and event.step == event.steps and event.stage in ("encode", "denoise"):
            _wait(world.pipeline)
            setattr(clip, event.stage, time.perf_counter() - began)


def _operations(pipeline: LongVie2Pipeline, state: WorldState, controls: ControlClip) -> tuple[int, int]:
    """Linear and attention operations of a pass whose clip and prompt were seen before."""
    clip = ClipInput(
        image=state.image,
        dense=controls.dense,
        sparse=controls.sparse,
        history=state.history,
        points=controls.points,
    )
    transformer = pipeline.transformer
    given = pipeline.prepare(clip, text=pipeline.encode_prompt("a"), negative_text=None).to(transformer.dtype)
    latents = torch.zeros_like(given.image_latents[:, 4:])
    x = torch.cat([latents, given.image_latents], dim=1)
    # Counted on shapes alone; plain attention, because fast ones do not say what they compute.
    with torch.device("meta"):
        shapes = LongVie2Transformer3DModel.from_config(transformer.config)
    x = torch.cat([given.image_latents[:, 4:], given.image_latents], dim=1)
    tensors = (x, x.new_zeros(1), given.text, given.image, given.dense, given.sparse, given.history)
    inputs = [None if tensor is None else tensor.float().to("meta") for tensor in tensors]
    memo = PassMemo(ClipMemo())
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        shapes(*inputs, memo=memo)
        with FlopCounterMode(display=False) as counter:
            shapes(*inputs, memo=memo)
    counts = {str(name): flop for name, flop in counter.get_flop_counts()["Global"].items()}
    attention = sum(flop for name, flop in counts.items() if "bmm" in name)
    return sum(counts.values()) - attention, attention


def _tokens(pipeline: LongVie2Pipeline) -> int:
    """Tokens of a clip with its history."""
    defaults, config = pipeline.defaults, pipeline.transformer.config
    scale = pipeline.vae.config.scale_factor_spatial
    per_frame = (defaults.height // scale // config.patch_size[1]) * (defaults.width // scale // config.patch_size[2])
    return int((21 + 2) * per_frame)


def _linear_rate(transformer: LongVie2Transformer3DModel, tokens: int) -> float:
    """Operations per second of the feed-forward's first product."""
    config = transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    like = {"dtype": transformer.dtype, "device": transformer.device}
    x, weight = torch.randn(tokens, width, **like), torch.randn(config.ffn_dim, width, **like)
    return float(2 * tokens * width * config.ffn_dim) / _seconds(lambda: F.linear(x, weight), x)


def _attention_rate(transformer: LongVie2Transformer3DModel, tokens: int) -> float:
    """Operations per second of self-attention at the base's size."""
    config = transformer.config
    like = {"dtype": transformer.dtype, "device": transformer.device}
    shape = (1, config.num_attention_heads, tokens, config.attention_head_dim)
    q, k, v = (torch.randn(*shape, **like) for _ in range(3))
    operations = 4 * tokens * tokens * config.num_attention_heads * config.attention_head_dim
    return float(operations) / _seconds(lambda: F.scaled_dot_product_attention(q, k, v), q)


def _seconds(work: Callable[[], Tensor], like: Tensor) -> float:
    """The best time of one call, over a few batches of calls that last long enough to be timed."""

    def batch(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            work()
        _synchronise(like.device)
        return (time.perf_counter() - began) / count

    with torch.no_grad():
        count = max(1, round(_RATE_S / max(1e-6, batch(2))))
        return min(batch(count) for _ in range(_RATE_REPEATS))


def _wait(pipeline: LongVie2Pipeline) -> None:
    _synchronise(pipeline.transformer.device)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reset_peak(pipeline: LongVie2Pipeline) -> None:
    if pipeline.transformer.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(pipeline.transformer.device)


def _peak(pipeline: LongVie2Pipeline) -> int:
    """Bytes on the device at the worst moment; on a CPU the process's."""
    device = pipeline.transformer.device
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
