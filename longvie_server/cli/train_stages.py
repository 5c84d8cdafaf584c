"""`longvie train control`, `first-frame`, `history`, `all`: the three stages of LongVie 2, over a base that exists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

__all__ = ["add_stages"]

_STAGES: Final = {
    "control": "Stage 1: the control branches, dense kept from dominating, the base frozen.",
    "first-frame": "Stage 2: the same, now and then with a spoilt first frame.",
    "history": "Stage 3: the frames before a clip, with the base's self-attention.",
    "all": "The three stages, one after another.",
}


def add_stages(app: typer.Typer) -> None:
    """Add one command per stage, and one for all."""
    for name, told in _STAGES.items():
        app.command(name, help=f"{told}\n\nStop it whenever you like: the same command goes on where it was.")(
            _command(name)
        )


def _command(name: str) -> Callable[..., None]:
    def command(
        model: Annotated[str, typer.Option(help="The checkpoint to begin with.")],
        out: Annotated[Path, typer.Option(help="The checkpoint's folder; `longvie serve --model FOLDER` uses it.")],
        folder: Annotated[Path, typer.Option(help="State, curves (tensorboard --logdir), prepared data.")],
        data: Annotated[
            Path | None, typer.Option(help="Recordings and videos with their truth; default: our scenes.")
        ] = None,
        scenes: Annotated[int, typer.Option(min=1, help="Scenes to render, where there is no data.")] = 300,
        first_seed: Annotated[int, typer.Option(min=0, help="Of the scenes.")] = 0,
        clips: Annotated[int | None, typer.Option(min=1, help="Of each sequence; default: all, 2 of a scene.")] = None,
        steps: Annotated[int, typer.Option(min=1, help="Of the optimizer, each stage.")] = 1000,
        batch: Annotated[int, typer.Option(min=1, help="Clips per process and pass.")] = 1,
        accumulate: Annotated[int, typer.Option(min=1, help="Passes per step.")] = 1,
        learning_rate: Annotated[float | None, typer.Option(help="Default: the paper's, 1e-5 and 5e-6.")] = None,
        warmup: Annotated[int, typer.Option(min=0, help="Steps until the rate is reached.")] = 100,
        ema_decay: Annotated[float, typer.Option(min=0, max=1, help="Of the weights' average.")] = 0.9999,
        precision: Annotated[str, typer.Option(help="no or bf16.")] = "no",
        device: Annotated[str, typer.Option(help="auto or cpu.")] = "auto",
        shard: Annotated[bool, typer.Option(help="Share the weights out among the processes (FSDP).")] = False,
        checkpointing: Annotated[bool, typer.Option(help="Less memory, more time.")] = False,
        keep_control: Annotated[
            bool, typer.Option(help="Begin with the model's fusion layers, not from zero.")
        ] = False,
        save_every: Annotated[int, typer.Option(min=1, help="Steps.")] = 200,
        log_every: Annotated[int, typer.Option(min=1, help="Steps.")] = 10,
        sample_every: Annotated[int, typer.Option(min=1, help="Steps between sample videos.")] = 500,
        seed: Annotated[int, typer.Option(min=0, help="Of everything.")] = 0,
        without_stage_2: Annotated[bool, typer.Option(help="Ablation, of `all`.")] = False,
        without_stage_3: Annotated[bool, typer.Option(help="Ablation, of `all`.")] = False,
        without_history: Annotated[bool, typer.Option(help="Ablation: no sample has one.")] = False,
        without_unified_noise: Annotated[bool, typer.Option(help="Ablation: no past in a clip's noise.")] = False,
        per_clip_range: Annotated[bool, typer.Option(help="Ablation: each clip's depth has its own range.")] = False,
        controls: Annotated[str, typer.Option(help="Ablation: both, dense or sparse.")] = "both",
    ) -> None:
        from ..training.stages import Ablations, Stage, StageConfig, train_stage, train_stages
        from ..training.stages.machine import Machine

        left_out = {Stage.FIRST_FRAME: without_stage_2, Stage.HISTORY: without_stage_3}
        stages = [stage for stage in Stage if not left_out.get(stage)] if name == "all" else [Stage(name)]
        config = StageConfig(
            stage=stages[0],
            model=model,
            folder=folder,
            out=out,
            data=data,
            scenes=scenes,
            first_seed=first_seed,
            clips=clips,
            steps=steps,
            batch=batch,
            accumulate=accumulate,
            learning_rate=learning_rate,
            warmup=warmup,
            ema_decay=ema_decay,
            checkpointing=checkpointing,
            keep_control=keep_control,
            save_every=save_every,
            log_every=log_every,
            sample_every=sample_every,
            seed=seed,
            ablations=Ablations(
                history=not without_history,
                unified_noise=not without_unified_noise,
                per_clip_range=per_clip_range,
                controls=controls,
            ),
        )
        machine = Machine(device=device, precision=precision, shard=shard)
        made = train_stages(config, stages, machine) if name == "all" else train_stage(config, machine)
        if machine.first:
            Console().print(f"{made} is ready: try `longvie demo --model {made}`", highlight=False)
        machine.close()

    return command
