"""Prompts and first frames into features, by whatever text and vision encoder the checkpoint carries.

In: a prompt; an image in -1 .. 1. Out: 512 text tokens, zero past the prompt; the vision encoder's patch tokens.
Law: the real model (UMT5-XXL, CLIP ViT-H) and the tiny one (a byte-level tokenizer, small encoders) share this code;
only their configs differ.
"""

from __future__ import annotations

import html
import unicodedata

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPVisionModel, PreTrainedTokenizerBase, UMT5EncoderModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from .transformer import TEXT_TOKENS

__all__ = ["clean_prompt", "encode_image", "encode_prompt"]

_STRAIGHT_QUOTES = str.maketrans(
    dict.fromkeys("\u02bc\u2018\u2019\u201a\u201b", "'") | dict.fromkeys("\u201c\u201d\u201e\u201f", '"')
)


def clean_prompt(prompt: str) -> str:
    """Return a prompt as the text encoder saw them in training: no HTML entities, straight quotes, single spaces."""
    text = html.unescape(html.unescape(prompt))
    return " ".join(unicodedata.normalize("NFC", text).translate(_STRAIGHT_QUOTES).split())


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase, text_encoder: UMT5EncoderModel, prompts: str | list[str]
) -> Tensor:
    """Return text features, (batch, 512, text_dim); tokens past a prompt's end are zero, longer prompts are cut."""
    prompts = [prompts] if isinstance(prompts, str) else prompts
    tokens = tokenizer(
        [clean_prompt(prompt) for prompt in prompts],
        padding="max_length",
        max_length=TEXT_TOKENS,
        truncation=True,
        return_attention_mask=True,
        return_tensors="pt",
    )
    mask = tokens.attention_mask.to(text_encoder.device)
    features: Tensor = text_encoder(tokens.input_ids.to(text_encoder.device), mask).last_hidden_state
    # Zero here, before the transformer's text embedding: padding then carries that embedding's bias, as in training.
    kept: Tensor = features * mask[..., None].to(features.dtype)
    return kept


def encode_image(image_encoder: CLIPVisionModel, image: Tensor) -> Tensor:
    """Return the penultimate layer's tokens, (batch, 1 + patches, image_dim).

    Args:
        image_encoder: any size.
        image: (batch, 3, height, width), -1 .. 1, any aspect: it is squashed to the encoder's square.
    """
    side = image_encoder.config.image_size
    # No antialiasing and no crop: the weights were trained behind this very resize.
    square = F.interpolate(image.float(), size=(side, side), mode="bicubic", align_corners=False)
    mean = torch.tensor(OPENAI_CLIP_MEAN, device=image.device).view(1, 3, 1, 1)
    std = torch.tensor(OPENAI_CLIP_STD, device=image.device).view(1, 3, 1, 1)
    pixels = ((square * 0.5 + 0.5 - mean) / std).to(image_encoder.device, image_encoder.dtype)
    tokens: Tensor = image_encoder(pixels, output_hidden_states=True).hidden_states[-2]
    return tokens
