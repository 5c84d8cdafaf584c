"""Published files in small: the golden weights in the layouts in which the real ones are published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from parity import golden_pipeline
from published import longvie_file, original_image_encoder, original_text_encoder, write_shards
from safetensors.torch import load_file, save_file
from transformers import ByT5Tokenizer, CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from longvie_server.weights.encoders import ORIGINAL_ENCODERS
from longvie_server.world_model.longvie2 import LongVie2Pipeline
from longvie_server.world_model.longvie2.conversion import convert_transformer

GOLDEN = Path(__file__).parents[2] / "golden" / "longvie2"
META = json.loads((GOLDEN / "meta.json").read_text())

Publish = Callable[..., Path]


@pytest.fixture(scope="session")
def golden() -> LongVie2Pipeline:
    return golden_pipeline(GOLDEN)


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text encoder, image encoder and tokenizer in diffusers' layout, as wide as the golden transformer asks for."""
    folder = tmp_path_factory.mktemp("encoders")
    sizes = {"num_layers": 1, "num_heads": 2, "d_kv": 8, "d_ff": 16}
    UMT5EncoderModel(UMT5Config(vocab_size=384, d_model=META["dit"]["text_dim"], **sizes)).save_pretrained(
        folder / "text_encoder"
    )
    vision = CLIPVisionConfig(
        hidden_size=1280, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16
    )
    CLIPVisionModel(vision).save_pretrained(folder / "image_encoder")
    ByT5Tokenizer().save_pretrained(folder / "tokenizer")
    return folder


@pytest.fixture
def publish(tmp_path: Path, encoders: Path) -> Publish:
    """Write `published/base` in a layout, and `published/longvie`; return `published`."""

    def write(layout: str = "diffusers", *, prefix: bool = False) -> Path:
        folder = tmp_path / "published"
        base = load_file(GOLDEN / "base.safetensors")
        (folder / "longvie").mkdir(parents=True)
        if layout == "diffusers":
            shutil.copytree(encoders, folder / "base")
            write_shards(folder / "base" / "transformer", convert_transformer(base))
            config = {"num_attention_heads": META["dit"]["num_heads"], "_class_name": "WanTransformer3DModel"}
            (folder / "base" / "transformer" / "config.json").write_text(json.dumps(config))
            vae = golden_pipeline(GOLDEN).vae
            vae.save_pretrained(folder / "base" / "vae")
        else:
            write_shards(folder / "base", base)
            for part, weights in (
                ("text_encoder", original_text_encoder(width=META["dit"]["text_dim"], heads=2, layers=1)),
                ("image_encoder", original_image_encoder(width=1280, layers=2)),
            ):
                torch.save(weights, folder / "base" / ORIGINAL_ENCODERS[part])
            shutil.copytree(encoders / "tokenizer", folder / "base" / "google" / "umt5-xxl")
            config = {"dim": META["dit"]["dim"], "num_heads": META["dit"]["num_heads"], "eps": META["dit"]["eps"]}
            (folder / "base" / "config.json").write_text(json.dumps(config))
            torch.save(load_file(GOLDEN / "vae.safetensors"), folder / "base" / "Wan2.1_VAE.pth")
        for name, start in (("control", "pipe.dual_controller."), ("dit", "pipe.dit.")):
            tensors = load_file(GOLDEN / f"{name}.safetensors")
            save_file({(start if prefix else "") + key: t for key, t in tensors.items()}, longvie_file(folder, name))
        return folder

    return write
