"""Compare LongVie 2 with golden numbers of the reference: one line per case, and exit status 1 where one is over.

    python tests/parity.py tests/golden/longvie2

The folder is laid out like `tests/golden/longvie2` (its README says what each file holds); all sizes are read from its
`meta.json`. Each clip of a run is given the golden frames of the clip before it: frames are truncated to 8 bits, so a
last-bit difference in one clip would change the next.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from bridge.tick import HISTORY_FRAMES, DepthRange
from longvie_server.control.dense import DisparityScale, encode_disparity, measured_frames
from longvie_server.control.percentiles import percentiles
from longvie_server.control.resize import resize_bicubic
from longvie_server.control.sparse import paint_sparse
from longvie_server.world_model.longvie2 import LongVie2Config, LongVie2Pipeline, build
from longvie_server.world_model.longvie2.configs import ImageEncoderSize, TextEncoderSize, TransformerSize, VaeSize
from longvie_server.world_model.longvie2.conversion import load_longvie2, load_vae
from longvie_server.world_model.longvie2.pipeline import ClipInput
from longvie_server.world_model.longvie2.sampler import denoise, mix_first_latent, set_steps, unified_noise
from longvie_server.world_model.longvie2.vae import decode_video, to_pixels

PASS_TOLERANCE: Final = 1e-5
CODE_TOLERANCE: Final = 1e-5
RUN_TOLERANCE: Final = 1e-4
PIXEL_TOLERANCE: Final = 1.0  # a value within rounding of a whole number may be truncated to either side
BF16_TOLERANCE: Final = 0.02  # root mean square, relative: each block rounds in its own order
FILES: Final = ("base", "dit", "control", "vae", "forward")


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Args:
        name: of the case.
        difference: largest absolute one; for bfloat16 the relative root mean square.
        tolerance: what it may be.
    """

    name: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether it is within tolerance; NaN is not."""
        return self.difference <= self.tolerance


def compare(folder: Path) -> Iterator[Case]:
    """Yield every case of a folder.

    Raises:
        FileNotFoundError: a file of the layout is missing.
    """
    meta = json.loads((folder / "meta.json").read_text())
    pipeline = golden_pipeline(folder)
    with torch.no_grad():
        yield from _passes(pipeline, load_file(folder / "forward.safetensors"))
        yield from _run(pipeline, load_file(folder / "run.safetensors"), meta)
    with np.load(folder / "rasters.npz") as rasters:
        yield from _rasters(dict(rasters))


def golden_pipeline(folder: Path) -> LongVie2Pipeline:
    """Return a pipeline of the folder's sizes with the folder's weights."""
    meta = json.loads((folder / "meta.json").read_text())
    base, dit, control, vae, forward = (load_file(folder / f"{name}.safetensors") for name in FILES)
    pipeline = build(_config(meta, forward), seed=0)
    load_longvie2(pipeline.transformer, base=base, dit=dit, control=control)
    load_vae(pipeline.vae, vae)
    return pipeline


def _config(meta: dict[str, Any], forward: dict[str, Tensor]) -> LongVie2Config:
    dit, vae = meta["dit"], meta["vae"]
    heads = dit["num_heads"]
    return LongVie2Config(
        height=meta["H"],
        width=meta["W"],
        num_inference_steps=meta["steps"],
        guidance_scale=meta["cfg"],
        shift=meta["shift"],
        negative_prompt="",
        transformer=TransformerSize(
            patch_size=tuple(dit["patch_size"]),
            num_attention_heads=heads,
            attention_head_dim=dit["dim"] // heads,
            in_channels=dit["in_dim"],
            out_channels=dit["out_dim"],
            text_dim=dit["text_dim"],
            freq_dim=dit["freq_dim"],
            ffn_dim=dit["ffn_dim"],
            num_layers=dit["num_layers"],
            image_dim=forward["in.clip_feature"].shape[-1],
            control_num_layers=meta["control_layers"],
            control_num_attention_heads=heads // 2,
            control_ffn_dim=dit["ffn_dim"] // 2,
        ),
        vae=VaeSize(
            base_dim=vae["dim"],
            decoder_base_dim=vae["dim"],
            z_dim=vae["z_dim"],
            num_res_blocks=vae["num_res_blocks"],
        ),
        # Features of both encoders come with the golden numbers.
        text_encoder=TextEncoderSize(vocab_size=384, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2),
        image_encoder=ImageEncoderSize(
            hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=32, patch_size=16
        ),
    )


def _passes(pipeline: LongVie2Pipeline, golden: dict[str, Tensor]) -> Iterator[Case]:
    silent = copy.deepcopy(pipeline.transformer)
    silent.zero_control(initial=False)
    rounded = torch.nn.Module.to(copy.deepcopy(pipeline.transformer), torch.bfloat16)
    for name in sorted(key.removesuffix(".timestep") for key in golden if key.endswith(".timestep")):
        bf16 = name.endswith("_bf16")
        model = silent if name.endswith("_nocontrol") else rounded if bf16 else pipeline.transformer
        given = {
            key.removeprefix("in."): t.to(torch.bfloat16 if bf16 else torch.float32)
            for key, t in golden.items()
            if key.startswith("in.")
        }
        history = next((given[key] for key in ("history1", "history2") if f"hist{key[-1]}" in name), None)
        out = model(
            torch.cat([given["latents"], given["y"]], dim=1),
            golden[f"{name}.timestep"],
            given["context"],
            given["clip_feature"],
            given["dense"],
            given["sparse"],
            history,
        ).sample.float()
        want = golden[f"{name}.out"].float()
        if bf16:
            relative = (out - want).square().mean().sqrt() / want.square().mean().sqrt()
            yield Case(f"forward {name} (relative rms)", float(relative), BF16_TOLERANCE)
        else:
            yield Case(f"forward {name}", _apart(out, want), PASS_TOLERANCE)


def _run(pipeline: LongVie2Pipeline, golden: dict[str, Tensor], meta: dict[str, Any]) -> Iterator[Case]:
    scheduler = set_steps(pipeline.scheduler, meta["steps"], torch.device("cpu"))
    yield Case("scheduler sigmas", _apart(scheduler.sigmas[:-1], golden["sigmas"]), 1e-6)
    yield Case("scheduler timesteps", _apart(scheduler.timesteps, golden["timesteps"]), 1e-3)
    clips = sorted({int(key[4 : key.index(".")]) for key in golden if key.startswith("clip") and "." in key})
    for number in clips:
        yield from _clip(pipeline, golden, meta, number)


def _clip(pipeline: LongVie2Pipeline, golden: dict[str, Tensor], meta: dict[str, Any], number: int) -> Iterator[Case]:
    def of(name: str, clip: int = number) -> Tensor:
        return golden[f"clip{clip}.{name}"]

    before = of("frames_uint8", number - 1)[-HISTORY_FRAMES:].numpy() if number else None
    conditions = pipeline.prepare(
        ClipInput(
            image=golden["first_image"].numpy() if before is None else before[-1],
            dense=of("dense_video").numpy(),
            sparse=of("sparse_video").numpy(),
            history=before,
        ),
        text=golden[f"context.clip {number}"],
        negative_text=golden["context.bad"],
        image_features=of("in.clip_feature"),
    )
    encoded = {"y": conditions.image_latents, "dense": conditions.dense, "sparse": conditions.sparse}
    if conditions.history is not None:
        encoded["history_latents"] = conditions.history
    for name, got in encoded.items():
        if f"clip{number}.in.{name}" in golden:
            yield Case(f"clip {number} encode {name}", _apart(got, of(f"in.{name}")), CODE_TOLERANCE)
    z, frames, rows, columns = of("in.latents").shape[1:]
    noise = mix_first_latent(unified_noise((1, z, frames, rows, columns), meta["seed"]), conditions.history)
    yield Case(f"clip {number} start", _apart(noise, of("in.latents")), CODE_TOLERANCE)

    scheduler = set_steps(pipeline.scheduler, meta["steps"], torch.device("cpu"))
    passes = denoise(pipeline.transformer, scheduler, noise=noise, conditions=conditions, guidance_scale=meta["cfg"])
    latents = noise
    for step, latents in enumerate(passes):
        yield Case(f"clip {number} step {step}", _apart(latents, of(f"latents_after.{step}")), RUN_TOLERANCE)
    decoded = decode_video(pipeline.vae, latents)
    if f"clip{number}.decoded" in golden:
        yield Case(f"clip {number} decode", _apart(decoded, of("decoded").clamp(-1, 1)), RUN_TOLERANCE)
    frames_apart = _apart(torch.from_numpy(to_pixels(decoded)).float(), of("frames_uint8").float())
    yield Case(f"clip {number} frames (of 255)", frames_apart, PIXEL_TOLERANCE)


def _rasters(golden: dict[str, NDArray[Any]]) -> Iterator[Case]:
    for name in sorted(key.removesuffix(".tracks") for key in golden if key.endswith(".tracks")):
        tracks, canvas, resized = (golden[f"{name}.{part}"] for part in ("tracks", "canvas", "resized"))
        everything = np.ones(tracks.shape[:2], np.bool_)
        painted = paint_sparse(tracks[..., :2], tracks[..., 2], everything)
        yield Case(f"raster {name} canvas", _pixels_apart(painted, canvas), 0.0)
        height, width = resized.shape[1:3]
        ours = np.stack([resize_bicubic(frame, height=height, width=width) for frame in painted])
        yield Case(f"raster {name} resized", _pixels_apart(ours, resized), 0.0)
    disparity = golden["depth.disparity"]
    video = disparity[: measured_frames(len(disparity))]
    p5, p95 = percentiles(video, (5.0, 95.0))
    grey = encode_disparity(video, DisparityScale.from_depth_range(DepthRange(near_m=1.0 / p95, far_m=1.0 / p5)))
    for clip, first in enumerate(range(0, len(video) - 1, 80)):
        if f"depth.clip{clip}" in golden:
            yield Case(f"dense clip {clip}", _pixels_apart(grey[first : first + 81], golden[f"depth.clip{clip}"]), 0.0)


def _apart(got: Tensor, want: Tensor) -> float:
    if got.shape != want.shape:
        return float("nan")
    return float((got.float() - want.float()).abs().max())


def _pixels_apart(got: NDArray[Any], want: NDArray[Any]) -> float:
    return float(np.abs(got.astype(int) - want.astype(int)).max()) if got.shape == want.shape else float("nan")


def main(arguments: list[str], *, write: Callable[[str], Any] = print) -> int:
    """Print the cases of a folder; return the exit status."""
    if len(arguments) != 1:
        write("usage: python tests/parity.py FOLDER")
        return 2
    over = 0
    for case in compare(Path(arguments[0])):
        over += not case.passed
        verdict = "ok  " if case.passed else "OVER"
        write(f"{verdict}  {case.name:36s} {case.difference:10.3g}  (at most {case.tolerance:g})")
    write(f"{over} over" if over else "all within tolerance")
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
