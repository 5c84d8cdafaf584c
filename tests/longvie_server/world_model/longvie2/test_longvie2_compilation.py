"""Compiled blocks: the same latents, every variant made beforehand, and a way back where no compiler works."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from miniature import MICRO
from test_longvie2_quality import MANY_STEPS, latents_of
from torch import Tensor

from bridge.errors import InvalidValue
from longvie_server.world_model.longvie2 import LongVie2Pipeline, build
from longvie_server.world_model.longvie2.checkpoint import make_ready
from longvie_server.world_model.longvie2.compilation import compile_blocks, worth_compiling
from longvie_server.world_model.longvie2.memory import profile_named
from longvie_server.world_model.options import RunOptions

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
GUIDED = replace(MICRO, guidance_scale=5.0)


@pytest.fixture(autouse=True)
def _short_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code is made for one size: that of MICRO, 2 x 4 latents, and of three latent frames, as `clip` has them."""
    monkeypatch.setattr("longvie_server.world_model.longvie2.compilation.CLIP_TICKS", 9)


def clip(pipeline: LongVie2Pipeline) -> Tensor:
    return latents_of(pipeline, rows=2)


# Of torch itself, when its compiler is loaded.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_same_latents_from_machine_code() -> None:
    plain, compiled = build(GUIDED, seed=0), build(GUIDED, seed=0)
    make_ready(compiled, CPU, RunOptions(compile="on"))
    assert compiled.compiled
    torch.testing.assert_close(clip(compiled), clip(plain), rtol=1e-4, atol=1e-4)


def test_a_clip_finds_every_variant_made() -> None:
    pipeline = build(GUIDED, seed=0)
    made = []

    def count(graph: torch.fx.GraphModule, _: object) -> object:
        made.append(graph)
        return graph.forward

    assert compile_blocks(pipeline, CPU, backend=count)
    # Base blocks and blocks of the branches, first steps and later ones; the base with and without history.
    assert len(made) == 2 + 2 * 2
    torch.testing.assert_close(clip(pipeline), clip(build(GUIDED, seed=0)), rtol=1e-5, atol=1e-5)
    assert len(made) == 6


def test_extrapolated_steps_are_left_out_of_compiled_blocks_too() -> None:
    plain, compiled = build(MANY_STEPS, seed=0), build(MANY_STEPS, seed=0)
    for pipeline in (plain, compiled):
        make_ready(pipeline, CPU, RunOptions(quality="balanced", compile="off"))
    assert compile_blocks(compiled, CPU, backend="eager")
    torch.testing.assert_close(clip(compiled), clip(plain), rtol=1e-4, atol=1e-4)


def test_where_no_compiler_works_the_model_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = build(GUIDED, seed=0)

    def fail(*_: object) -> None:
        raise OSError("no C compiler")

    assert not compile_blocks(pipeline, CPU, backend=fail)
    assert "cannot be compiled here" in caplog.text
    assert torch.equal(clip(pipeline), clip(build(GUIDED, seed=0)))


def test_asked_for_in_vain_is_an_error() -> None:
    with (
        patch("longvie_server.world_model.longvie2.checkpoint.compile_blocks", return_value=False),
        pytest.raises(InvalidValue, match="cannot be compiled here") as caught,
    ):
        make_ready(build(MICRO, seed=0), CPU, RunOptions(compile="on"))
    assert "C compiler" in caught.value.remedy
    with pytest.raises(InvalidValue, match="is not known"):
        make_ready(build(MICRO, seed=0), CPU, RunOptions(compile="yes"))
    with pytest.raises(InvalidValue, match="is not done for 2 GPUs together"):
        make_ready(build(MICRO, seed=0), CPU, RunOptions(compile="on", gpus=2))


def test_where_it_is_worth_it() -> None:
    resident = profile_named("resident")
    with patch("importlib.util.find_spec", return_value=object()), patch("shutil.which", return_value="/usr/bin/cc"):
        assert worth_compiling(CUDA, resident, gpus=1)
        assert not worth_compiling(CPU, resident, gpus=1)
        assert not worth_compiling(CUDA, resident, gpus=2)
        assert not worth_compiling(CUDA, profile_named("offloaded"), gpus=1)
        assert not worth_compiling(CUDA, profile_named("float8"), gpus=1)
    with patch("importlib.util.find_spec", return_value=object()), patch("shutil.which", return_value=None):
        assert not worth_compiling(CUDA, resident, gpus=1)
    with patch("importlib.util.find_spec", return_value=None), patch("shutil.which", return_value="/usr/bin/cc"):
        assert not worth_compiling(CUDA, resident, gpus=1)
