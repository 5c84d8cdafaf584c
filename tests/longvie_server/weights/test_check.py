"""A model folder is judged by its headers: what is wrong has a name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import UMT5Config, UMT5EncoderModel
from typer.testing import CliRunner

from longvie_server.cli.app import app
from longvie_server.weights import check_model
from longvie_server.world_model.registry import TINY_FOLDER


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY_FOLDER, tmp_path / "model"))


def test_the_bundled_model_is_whole() -> None:
    checks = list(check_model(TINY_FOLDER))
    assert {check.status for check in checks} == {"ok"}
    names = [check.name for check in checks]
    assert names == ["text_encoder", "image_encoder", "vae", "transformer", "fit", "tokenizer", "scheduler"]


def _edit(part: str, change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = next((folder / part).glob("*.safetensors"))
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    return edit


def _rename(tensors: dict[str, torch.Tensor]) -> None:
    tensors["blocks.0.attn1.to_Q.weight"] = tensors.pop("blocks.0.attn1.to_q.weight")


def _reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["proj_out.bias"] = tensors["proj_out.bias"][:5].clone()


def _as_integers(tensors: dict[str, torch.Tensor]) -> None:
    tensors["proj_out.bias"] = tensors["proj_out.bias"].to(torch.int8)


def _widen(folder: Path) -> None:
    path = folder / "vae" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "width": 32}))


def _add_a_copy(folder: Path) -> None:
    path = next((folder / "vae").glob("*.safetensors"))
    shutil.copy(path, path.with_name("copy.safetensors"))


def _the_base_alone(folder: Path) -> None:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "WanImageToVideoPipeline"}))


@pytest.mark.parametrize(
    ("spoil", "name", "says"),
    [
        (
            _edit("transformer", _rename),
            "transformer",
            "blocks.0.attn1.to_Q.weight is not a weight of this part; is it blocks.0.attn1.to_q.weight?",
        ),
        (_edit("transformer", _reshape), "transformer", "proj_out.bias is (5,), and has to be (96,)"),
        (_edit("transformer", _as_integers), "transformer", "no floating point type"),
        (_edit("vae", lambda t: t.pop("decoder.conv_in.bias")), "vae", "decoder.conv_in.bias is missing"),
        (_edit("text_encoder", lambda t: t.pop("shared.weight")), "text_encoder", "shared.weight is missing"),
        (_widen, "vae", "and has to be"),
        (_add_a_copy, "vae", "twice"),
        (_the_base_alone, "model", "WanImageToVideoPipeline"),
        (lambda folder: (folder / "vae" / "config.json").unlink(), "vae", "config.json is missing"),
        (lambda folder: (folder / "transformer" / "config.json").write_text("{"), "transformer", "JSON"),
        (lambda folder: shutil.rmtree(folder / "tokenizer"), "tokenizer", "is missing"),
        (lambda folder: shutil.rmtree(folder / "image_encoder"), "image_encoder", "no such file"),
        (lambda folder: shutil.rmtree(folder), "model", "model_index.json is missing"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, spoil: Callable[[Path], None], name: str, says: str) -> None:
    spoil(folder)
    wrong = [check for check in check_model(folder) if check.status == "error"]
    assert [check.name for check in wrong] == [name]
    assert says in wrong[0].text
    assert wrong[0].remedy


def test_parts_of_two_models_do_not_fit(folder: Path) -> None:
    other = UMT5Config(vocab_size=384, d_model=64, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    UMT5EncoderModel(other).save_pretrained(folder / "text_encoder")
    (wrong,) = [check for check in check_model(folder) if check.status == "error"]
    assert wrong.name == "fit"
    assert "d_model and transformer's text_dim are 64 and 128" in wrong.text


def test_the_command_fails_where_something_is_wrong(folder: Path) -> None:
    assert CliRunner().invoke(app, ["weights", "check", str(folder)]).exit_code == 0
    next((folder / "vae").glob("*.safetensors")).unlink()
    result = CliRunner().invoke(app, ["weights", "check", str(folder)])
    assert result.exit_code == 1
    assert "holds no safetensors file" in result.output
