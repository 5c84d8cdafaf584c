"""Published files become a folder that loads: the same weights, from either layout, and nothing half-written."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published import longvie_file
from safetensors.torch import load_file, save_file

from bridge.errors import InvalidValue
from longvie_server.weights import check_model, convert
from longvie_server.world_model.longvie2 import LongVie2Pipeline
from longvie_server.world_model.longvie2.checkpoint import load_checkpoint

Publish = Callable[..., Path]


@pytest.mark.parametrize(("layout", "prefix"), [("diffusers", False), ("original", True)])
def test_the_folder_loads_to_the_published_weights(
    publish: Publish, golden: LongVie2Pipeline, tmp_path: Path, layout: str, prefix: bool
) -> None:
    published = publish(layout, prefix=prefix)
    out = convert(published / "base", published / "longvie", tmp_path / "model", dtype=torch.float32)
    assert {check.status for check in check_model(out)} == {"ok"}
    loaded = load_checkpoint(out)
    for part in ("transformer", "vae"):
        want, got = getattr(golden, part).state_dict(), getattr(loaded, part).state_dict()
        assert got.keys() == want.keys()
        assert all(torch.equal(got[name], want[name]) for name in want)
    assert loaded.vae.config.num_res_blocks == golden.vae.config.num_res_blocks
    assert loaded.transformer.config.num_attention_heads == golden.transformer.config.num_attention_heads


def test_matrices_are_rounded_once_and_norms_are_not(
    publish: Publish, golden: LongVie2Pipeline, tmp_path: Path
) -> None:
    published = publish()
    out = convert(published / "base", published / "longvie", tmp_path / "model", shard_bytes=4_000_000)
    shards = sorted((out / "transformer").glob("*.safetensors"))
    assert len(shards) > 1
    assert all(path.stat().st_size < 4_100_000 for path in shards)
    stored = {name: tensor for path in shards for name, tensor in load_file(path).items()}
    assert stored["blocks.0.attn1.to_q.weight"].dtype == torch.bfloat16
    assert stored["blocks.0.scale_shift_table"].dtype == torch.float32
    got = load_checkpoint(out, dtype=torch.bfloat16).transformer.state_dict()
    for name, want in golden.transformer.state_dict().items():
        assert torch.equal(got[name].float(), want.to(stored[name].dtype).float()), name


def test_progress_ends_at_the_bytes_that_were_written(publish: Publish, tmp_path: Path) -> None:
    published = publish()
    told: list[tuple[int, int]] = []
    out = convert(published / "base", published / "longvie", tmp_path / "model", on_bytes=lambda *now: told.append(now))
    done, total = told[-1]
    written = sum(path.stat().st_size for path in out.rglob("*.safetensors"))
    assert done == total
    assert 0.95 * written < total < written


def _cut_off(published: Path) -> None:
    path = longvie_file(published, "control")
    path.write_bytes(path.read_bytes()[:-100])


def _misname(published: Path) -> None:
    path = longvie_file(published, "control")
    tensors = load_file(path)
    tensors["control_combine_linear.0.weight"] = tensors.pop("control_combine_linears.0.weight")
    save_file(tensors, path)


def _lose_a_weight(published: Path) -> None:
    path = longvie_file(published, "control")
    tensors = load_file(path)
    del tensors["control_blocks_sparse.1.ffn.0.weight"]
    save_file(tensors, path)


def _lose_a_shard(published: Path) -> None:
    next((published / "base" / "transformer").glob("*-00002-of-*.safetensors")).unlink()


def _another_size(published: Path) -> None:
    path = longvie_file(published, "dit")
    save_file({name: torch.cat([t, t]) for name, t in load_file(path).items()}, path)


def _no_image_input(published: Path) -> None:
    for path in (published / "base" / "transformer").glob("*.safetensors"):
        save_file({n: t for n, t in load_file(path).items() if "image_embedder" not in n}, path)


def _a_pointer(published: Path) -> None:
    longvie_file(published, "dit").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def _a_web_page(published: Path) -> None:
    longvie_file(published, "dit").write_text("<!doctype html><title>503</title>" * 20)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_cut_off, r"cut off: [\d,]+ of [\d,]+ bytes"),
        (_misname, r"control_combine_linear\.0\.weight is not a key"),
        (_lose_a_weight, r"control_blocks_sparse\.1\.ffn\.net\.0\.proj\.weight is missing"),
        (_lose_a_shard, r"1 of 2 shards are missing: diffusion_pytorch_model-00002-of-00002"),
        (_another_size, r"and has to be"),
        (_no_image_input, r"no Wan image-to-video base"),
        (_a_pointer, r"git lfs pull"),
        (_a_web_page, r"not a safetensors file"),
        (lambda published: longvie_file(published, "control").unlink(), r"no such file"),
        (lambda published: shutil.rmtree(published / "base" / "text_encoder"), r"text_encoder"),
    ],
)
def test_bad_files_are_refused_by_name_and_leave_nothing(publish: Publish, tmp_path: Path, spoil, says: str) -> None:
    published = publish()
    spoil(published)
    with pytest.raises(InvalidValue, match=says) as caught:
        convert(published / "base", published / "longvie", tmp_path / "model")
    assert caught.value.remedy
    assert sorted(path.name for path in tmp_path.iterdir()) == ["published"]


def test_a_full_disk_is_noticed_before_a_byte_is_written(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = publish()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 1000))
    with pytest.raises(InvalidValue, match=r"0\.0 GB free"):
        convert(published / "base", published / "longvie", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_interrupted_conversion_leaves_nothing_and_can_be_repeated(publish: Publish, tmp_path: Path) -> None:
    published = publish()

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(published / "base", published / "longvie", tmp_path / "model", on_bytes=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["published"]
    convert(published / "base", published / "longvie", tmp_path / "model")
    with pytest.raises(InvalidValue, match="exists"):
        convert(published / "base", published / "longvie", tmp_path / "model")


def test_the_model_index_names_what_the_pipeline_loads(publish: Publish, tmp_path: Path) -> None:
    published = publish()
    out = convert(published / "base", published / "longvie", tmp_path / "model")
    index = json.loads((out / "model_index.json").read_text())
    assert (index["height"], index["width"], index["num_inference_steps"], index["guidance_scale"]) == (352, 640, 50, 5)
    assert load_checkpoint(out).scheduler.config.shift == 5.0
