"""LongVie 2 as a diffusers pipeline: one clip from a first frame, two control videos, a prompt and maybe a history.

In: uint8 frames and a prompt. Out: 81 uint8 frames, whole (`__call__`) or as they are decoded (`generate`).
Laws: the parts are diffusers' and transformers', so offloading, quantization, LoRA and attention backends are theirs;
defaults (steps, guidance, size, negative prompt) are read from the checkpoint's folder; nothing per clip is kept here.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, fields

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.loaders import WanLoraLoaderMixin
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPVisionModel, PreTrainedTokenizerBase, UMT5EncoderModel

from bridge.errors import ShapeMismatch
from bridge.tick import WorldState

from ..interface import ControlClip, StepEvent, StepFrames, StepProgress
from .carry import look_back
from .encoders import encode_image, encode_prompt
from .palette import Palette
from .parallel import Guidance
from .sampler import Conditions, denoise, mix_first_latent, set_steps, unified_noise
from .tiny_decoder import TinyDecoder
from .transformer import LongVie2Transformer3DModel
from .vae import (
    VideoVae,
    decode_stream,
    encode_carried,
    encode_condition,
    encode_video,
    hint_of,
    latent_frames,
    to_pixels,
    to_video,
)

__all__ = ["ClipDefaults", "ClipInput", "LongVie2Pipeline"]


@dataclass(frozen=True, slots=True, eq=False)
class ClipInput:
    """What one clip is made of.

    Args:
        image: (height, width, 3) uint8, the clip's first frame.
        dense: (frames, height, width) or (frames, height, width, 3) uint8.
        sparse: (frames, height, width, 3) uint8.
        history: (n, height, width, 3) uint8, the last frames of the clip before, `image` being the very last; or None.
        points: (frames, points, 2) float32, where the followed points are seen, as in `ControlClip`; or None.
        anchor: (height, width, 4) uint8, colours and dense grey of the session's first frame, as in `WorldState`; None
            where `image` is that frame.

    Raises:
        ShapeMismatch: the sizes differ, or frames is not 4k + 1.
    """

    image: NDArray[np.uint8]
    dense: NDArray[np.uint8]
    sparse: NDArray[np.uint8]
    history: NDArray[np.uint8] | None = None
    points: NDArray[np.float32] | None = None
    anchor: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, state: WorldState, controls: ControlClip) -> ClipInput:
        """Return the clip that goes on from a state by these controls."""
        return cls(
            image=state.image,
            dense=controls.dense,
            sparse=controls.sparse,
            history=state.history,
            points=controls.points,
            anchor=state.anchor,
        )

    def __post_init__(self) -> None:
        frames, height, width = self.sparse.shape[:3]
        wanted = {
            "image": (self.image.shape, (height, width, 3)),
            "dense": (self.dense.shape[:3], (frames, height, width)),
            "sparse": (self.sparse.shape, (1 + (frames - 1) // 4 * 4, height, width, 3)),
        }
        if self.history is not None:
            wanted["history"] = (self.history.shape, (self.history.shape[0], height, width, 3))
        if self.points is not None:
            wanted["points"] = (self.points.shape, (frames, *self.points.shape[1:2], 2))
        if self.anchor is not None:
            wanted["anchor"] = (self.anchor.shape, (height, width, 4))
        for field, (got, want) in wanted.items():
            if got != want:
                raise ShapeMismatch(f"must be {want}", field=field, value=got, remedy="Give all videos one size.")

    def palette(self) -> Palette:
        """Return what the session's first frame says of colours."""
        if self.anchor is not None:
            return Palette.of(self.anchor[:, :, :3], self.anchor[:, :, 3])
        dense = self.dense[0]
        return Palette.of(self.image, dense if dense.ndim == 2 else dense[:, :, 0])


@dataclass(frozen=True, slots=True)
class ClipDefaults:
    """What the checkpoint's folder says of a clip; see `LongVie2Pipeline`."""

    height: int
    width: int
    num_inference_steps: int
    guidance_scale: float
    negative_prompt: str
    carries_first_frame: bool
    sees_history: bool


class LongVie2Pipeline(DiffusionPipeline, WanLoraLoaderMixin):  # type: ignore[misc]
    """Generate one clip at a time; `LongVie2WorldModel` carries the state from clip to clip.

    Args:
        tokenizer, text_encoder: UMT5, or a small one with a byte-level tokenizer.
        image_encoder: CLIP's vision half.
        vae: with its latents' mean and scale in its config.
        transformer: with the VAE's latent channels.
        scheduler: flow-matching Euler; its shift is part of its config.
        height, width: of the frames that the checkpoint was trained for, pixels.
        num_inference_steps, guidance_scale, negative_prompt: defaults of a clip.
        carries_first_frame: whether a clip's condition is its first frame carried along by the followed points, where
            they are given, and not the first frame followed by zeros.
        sees_history: whether the denoiser was trained to look at the frames before a clip; where not, none are shown.
    """

    model_cpu_offload_seq = "text_encoder->image_encoder->transformer->vae"
    quality = "final"
    """The trade of quality for speed that was applied to it."""
    memory = "resident"
    """The memory profile that its parts were laid out by."""
    attention = "native"
    """The attention kernel that was chosen for it."""
    products = "full"
    """What its blocks multiply: numbers of the transformer's type, or of 8 bits."""
    tiny_decoder: TinyDecoder | None = None
    """What decodes in place of the VAE's own decoder."""
    compiled = False
    """Whether its transformer's blocks were compiled."""
    shared_guidance: Guidance | None = None
    """Who takes which pass, where several processes make a clip together; `parallelise` says."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        text_encoder: UMT5EncoderModel,
        image_encoder: CLIPVisionModel,
        vae: VideoVae,
        transformer: LongVie2Transformer3DModel,
        scheduler: FlowMatchEulerDiscreteScheduler,
        height: int = 352,
        width: int = 640,
        num_inference_steps: int = 50,
        guidance_scale: float = 5.0,
        negative_prompt: str = "",
        carries_first_frame: bool = False,
        sees_history: bool = True,
    ) -> None:
        super().__init__()
        self.register_modules(
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            image_encoder=image_encoder,
            vae=vae,
            transformer=transformer,
            scheduler=scheduler,
        )
        self.register_to_config(
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            carries_first_frame=carries_first_frame,
            sees_history=sees_history,
        )

    @property
    def defaults(self) -> ClipDefaults:
        """The checkpoint's own size and sampler settings."""
        return ClipDefaults(**{field.name: self.config[field.name] for field in fields(ClipDefaults)})

    def __call__(
        self,
        image: NDArray[np.uint8],
        dense: NDArray[np.uint8],
        sparse: NDArray[np.uint8],
        prompt: str,
        *,
        history: NDArray[np.uint8] | None = None,
        points: NDArray[np.float32] | None = None,
        negative_prompt: str | None = None,
        seed: int = 0,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> NDArray[np.uint8]:
        """Return a clip, (frames, height, width, 3) uint8.

        Args:
            image, dense, sparse, history, points: see `ClipInput`.
            prompt, negative_prompt: what the video shows, and what not; None is the checkpoint's own.
            seed: of the unified noise; keep it from clip to clip.
            num_inference_steps, guidance_scale: None is the checkpoint's own.
        """
        clip = ClipInput(image=image, dense=dense, sparse=sparse, history=history, points=points)
        guidance = self.defaults.guidance_scale if guidance_scale is None else guidance_scale
        events = self.generate(
            clip,
            text=self.encode_prompt(prompt),
            negative_text=None
            if guidance == 1
            else self.encode_prompt(self.defaults.negative_prompt if negative_prompt is None else negative_prompt),
            seed=seed,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance,
        )
        frames = []
        with self.progress_bar(
            total=self.defaults.num_inference_steps if num_inference_steps is None else num_inference_steps
        ) as bar:
            for event in events:
                if isinstance(event, StepFrames):
                    frames.append(event.frames)
                elif event.stage == "denoise" and event.step > 0:
                    bar.update()
        return np.concatenate(frames)

    @torch.no_grad()
    def encode_prompt(self, prompt: str) -> Tensor:
        """Return a prompt's features, (1, 512, text_dim)."""
        return encode_prompt(self.tokenizer, self.text_encoder, prompt)

    def generate(
        self,
        clip: ClipInput,
        *,
        text: Tensor,
        negative_text: Tensor | None,
        seed: int,
        image_features: Tensor | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        decode_chunk: int = 1,
    ) -> Generator[StepEvent, None, None]:
        """Yield progress, then frames as they are decoded; closing the generator stops the work.

        Args:
            clip: the videos.
            text, negative_text: from `encode_prompt`; negative_text may be None at guidance 1.
            seed: of the unified noise.
            image_features: (1, tokens, image_dim) in place of the image encoder's.
            num_inference_steps, guidance_scale: None is the checkpoint's own.
            decode_chunk: latent frames per piece of decoding.
        """
        steps = self.defaults.num_inference_steps if num_inference_steps is None else num_inference_steps
        guidance = self.defaults.guidance_scale if guidance_scale is None else guidance_scale
        scheduler = set_steps(self.scheduler, steps, self._execution_device)

        yield StepProgress("encode", 0, 1)
        conditions = self.prepare(clip, text=text, negative_text=negative_text, image_features=image_features)
        yield StepProgress("encode", 1, 1)

        z, frames, rows, columns = conditions.image_latents.shape[1:]
        noise = unified_noise((1, z - 4, frames, rows, columns), seed).to(self._execution_device)
        noise = mix_first_latent(noise, conditions.history)
        latents = noise
        yield StepProgress("denoise", 0, steps)
        passes = denoise(
            self.transformer,
            scheduler,
            noise=noise,
            conditions=conditions,
            guidance_scale=guidance,
            guidance=self.shared_guidance,
        )
        for step, latents in enumerate(passes, start=1):  # noqa: B007 - the last ones are the clip's
            yield StepProgress("denoise", step, steps)

        yield from self._decode(latents, decode_chunk, hint=conditions.hint)
        self.maybe_free_model_hooks()

    @torch.no_grad()
    def prepare(
        self, clip: ClipInput, *, text: Tensor, negative_text: Tensor | None, image_features: Tensor | None = None
    ) -> Conditions:
        """Return the conditions of a clip: everything that the denoiser sees besides noise and time."""
        device, dtype = self._execution_device, self.vae.dtype
        image = to_video(clip.image[None], device=device, dtype=dtype)
        dense = to_video(clip.dense, device=device, dtype=dtype)
        sparse = to_video(clip.sparse, device=device, dtype=dtype)
        if image_features is None:
            image_features = encode_image(self.image_encoder, image[:, :, 0])

        # Three first frames and two videos, each a batch of its own kind.
        first = encode_condition(self.vae, torch.cat([image, dense[:, :, :1], sparse[:, :, :1]]), dense.shape[2])
        videos = encode_video(self.vae, torch.cat([dense, sparse]))
        image_latents, hint = first[:1], None
        if clip.points is not None and self.defaults.carries_first_frame:
            grey = clip.dense if clip.dense.ndim == 3 else clip.dense[..., 0]
            guess = clip.palette().paint(grey)
            carried = look_back(clip.points, grey).carry(clip.image, guess, drawn=clip.anchor is not None)
            image_latents = encode_carried(self.vae, carried, device=device)
            hint = hint_of(self.vae, carried, device=device)
        history = None
        if clip.history is not None and self.defaults.sees_history:
            # Of 8 frames the VAE sees the first 5: two latents. The last three never enter, as in training.
            seen = 1 + (latent_frames(len(clip.history)) - 1) * 4
            history = encode_video(self.vae, to_video(clip.history[:seen], device=device, dtype=dtype))
        return Conditions(
            text=text.to(device),
            negative_text=None if negative_text is None else negative_text.to(device),
            image=image_features.to(device),
            image_latents=image_latents,
            dense=torch.cat([videos[:1], first[1:2]], dim=1),
            sparse=torch.cat([videos[1:], first[2:]], dim=1),
            history=history,
            hint=hint,
        )

    @torch.no_grad()
    def _decode(self, latents: Tensor, chunk: int, *, hint: Tensor | None = None) -> Generator[StepEvent, None, None]:
        total, frames = latents.shape[2], 0
        yield StepProgress("decode", 0, total)
        latents = latents.to(self.vae.dtype)
        if self.tiny_decoder is None:
            pieces = decode_stream(self.vae, latents, chunk=chunk, hint=hint)
        else:
            pieces = self.tiny_decoder.decode_stream(latents, chunk=chunk)
        for piece in pieces:
            yield StepFrames(to_pixels(piece))
            frames += piece.shape[2]
            yield StepProgress("decode", latent_frames(frames), total)
