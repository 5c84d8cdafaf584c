"""One stage's training, and several after another: from a checkpoint and sequences to a checkpoint.

Laws: every random choice is drawn from (seed, step, process), so a training that was killed and started again takes the
very steps of one that was not; what is written are folders: the run (state, curves), and a checkpoint that serves.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn, track
from torch import Tensor, nn

from bridge.errors import InvalidValue

from ...evaluation.rows import row_clips
from ...sequences import ClipSequence, SequenceSource, cached, find_sources
from ...sequences.scene import training_scenes
from ...world_model.longvie2 import LongVie2Pipeline
from ...world_model.longvie2.checkpoint import load_checkpoint
from ...world_model.longvie2.world_model import LongVie2WorldModel
from ..flow import draw_sigma, make_noisy
from ..run import LOG_FILE, step_generator
from .exported import Origin, check_out, export, origin_of
from .machine import Machine
from .method import METHOD, Ablations, Stage, choose_trained
from .objective import flow_error, timestep_weight
from .plan import StepPlan, draw_plan, own_random, plan_random
from .samples import Batch, Samples
from .state import TrainingState, saved_run
from .watch import Watch

__all__ = ["StageConfig", "train_stage", "train_stages"]

_LONGEST_GRADIENT: Final = 1.0
_SCENE_CLIPS: Final = 2
_SHOWN_CLIPS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig:
    """One stage's training.

    Args:
        stage: which.
        model: the checkpoint to begin with, a folder or a name on the Hub.
        folder: of the run: its state and curves.
        out: of the checkpoint that is made.
        sequences: of the prepared ones, which several trainings may share; None for a folder in the run's.
        data: a folder of recordings and videos (`sequences.find_sources`); None for scenes of the built-in engine.
        scenes, first_seed: how many of these, and the first one's seed.
        clips: of each sequence, at most; None for all, or two of a scene.
        steps: of the optimizer.
        batch, accumulate: clips per process and pass, and passes per step.
        learning_rate: None for the method's.
        warmup: steps.
        ema_decay: of the weights' average, which is what the checkpoint has.
        checkpointing: compute activations twice instead of keeping them.
        keep_control: begin the first stage with the control branches' own fusion layers and not from zero.
        save_every, log_every, sample_every: steps between them.
        seed: of everything.
        ablations: what is left out.

    Raises:
        InvalidValue: a number is out of its range.
    """

    stage: Stage
    model: str
    folder: Path
    out: Path
    sequences: Path | None = None
    data: Path | None = None
    scenes: int = 300
    first_seed: int = 0
    clips: int | None = None
    steps: int = 1000
    batch: int = 1
    accumulate: int = 1
    learning_rate: float | None = None
    warmup: int = 100
    ema_decay: float = 0.9999
    checkpointing: bool = False
    keep_control: bool = False
    save_every: int = 200
    log_every: int = 10
    sample_every: int = 500
    seed: int = 0
    ablations: Ablations = field(default_factory=Ablations)

    def __post_init__(self) -> None:
        counts = ("scenes", "steps", "batch", "accumulate", "save_every", "log_every", "sample_every")
        for name in (*counts, *(() if self.clips is None else ("clips",))):
            self._check(name, getattr(self, name) >= 1, "must be at least 1", "Give a larger number.")
        for name in ("warmup", "seed", "first_seed"):
            self._check(name, getattr(self, name) >= 0, "must be at least 0", "Give a larger number.")
        rate = self.learning_rate
        fits = rate is None or (math.isfinite(rate) and rate > 0)
        self._check("learning_rate", fits, "must be above 0", "Give one like 1e-5, or leave it out.")
        self._check("ema_decay", 0 <= self.ema_decay <= 1, "must be in 0 .. 1", "Give one like 0.9999.")

    def _check(self, name: str, fits: bool, problem: str, remedy: str) -> None:
        if not fits:
            raise InvalidValue(problem, field=name, value=getattr(self, name), remedy=remedy)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: warmed up linearly, then constant."""
        peak = METHOD[self.stage].learning_rate if self.learning_rate is None else self.learning_rate
        return peak * min(1.0, (step + 1) / max(1, self.warmup))

    def identity(self, machine: Machine) -> dict[str, object]:
        """Return what the steps depend on: a run that goes on must have the same."""
        told, began = asdict(self), origin_of(self.model)
        same = ("stage", "model", "scenes", "first_seed", "clips", "batch", "accumulate", "seed", "ablations")
        return {
            **{name: told[name] for name in same},
            "began": None if began is None else asdict(began),
            "data": None if self.data is None else str(self.data),
            "rates": [self.rate(0), self.rate(self.warmup)],
            "ema_decay": self.ema_decay,
            "keep_control": self.keep_control,
            "processes": machine.processes,
        }


def train_stages(config: StageConfig, stages: Sequence[Stage], machine: Machine) -> Path:
    """Train several stages, each from the one before; return the last one's checkpoint.

    Args:
        config: of the first one; each has a folder of its own below its folder, and the sequences are prepared once.
        stages: in their order.
        machine: for all of them.

    Raises:
        InvalidValue: there is no stage, a stage was begun with another checkpoint of the one before than there will
            be, or a stage's own.
    """
    if not stages:
        raise InvalidValue("are all left out", field="stages", remedy="Leave one.")
    each: list[StageConfig] = []
    sequences = config.folder / "sequences" if config.sequences is None else config.sequences
    for stage in stages:
        folder = config.folder / stage.value
        out = config.out if stage is stages[-1] else folder / "checkpoint"
        model = str(each[-1].out) if each else config.model
        each.append(replace(config, stage=stage, model=model, folder=folder, out=out, sequences=sequences))
    # All of it before the first step: a stage may take weeks.
    for one in each:
        check_out(one.out, one.folder)
    for before, after in pairwise(each):
        _check_begun(before, after)
    return [train_stage(one, machine) for one in each][-1]


def _check_begun(before: StageConfig, after: StageConfig) -> None:
    """Raise where a stage was begun with another checkpoint than the one before it will leave."""
    first, second = saved_run(before.folder), saved_run(after.folder)
    if second is None:
        return
    left = None if first is None else asdict(Origin(first.run, max(first.step, before.steps)))
    if second.identity.get("began") != left:
        raise InvalidValue(
            f"would change the checkpoint that the training in {after.folder} was begun with",
            field="--steps",
            value=before.steps,
            remedy="Give the steps that it was begun with, or remove its folder and those of the stages after it.",
        )


def train_stage(config: StageConfig, machine: Machine) -> Path:
    """Train one stage, or go on with it; return the checkpoint's folder.

    Raises:
        InvalidValue: the data cannot be read, the folder holds another training, `out` holds a checkpoint that is not
            this one's, or the loss is not finite.
    """
    check_out(config.out, config.folder)
    sources = _sources(config)
    method = METHOD[config.stage]
    pipeline = load_checkpoint(config.model)
    sequences = _prepared(config, sources, machine, pipeline)
    transformer = pipeline.transformer
    choose_trained(transformer, method)
    if method.from_zero and not config.keep_control:
        transformer.zero_control()
    if config.checkpointing:
        transformer.enable_gradient_checkpointing()
    model = machine.place(transformer)
    pipeline.to(machine.device)
    for frozen in (pipeline.vae, pipeline.text_encoder, pipeline.image_encoder):
        # `Module.to` and not diffusers', which speaks of parts that stay float32.
        nn.Module.to(frozen, machine.dtype)
    trained = choose_trained(transformer, method)
    optimizer = torch.optim.AdamW(trained.values(), betas=(0.9, 0.999), weight_decay=0.01)
    ema = EMAModel(list(trained.values()), decay=config.ema_decay)
    state = TrainingState(config.folder, trained, optimizer, ema, config.identity(machine))
    state.load()
    needs_history = method.history_share > 0 and config.ablations.history
    if method.history_share > 0:
        # What this stage learns to look at is what it is shown from here on, in samples and in sessions.
        pipeline.register_to_config(sees_history=config.ablations.history)
    samples = Samples(pipeline, sequences, config.ablations, needs_history=needs_history)
    _Training(config, machine, pipeline, model, state, samples).run(sequences[0])
    if machine.first:
        export(config.model, config.folder, config.out, sees_history=pipeline.defaults.sees_history)
    machine.release()
    machine.wait()
    return config.out


def _sources(config: StageConfig) -> list[SequenceSource]:
    """What there is to train on, unread as yet."""
    if config.data is None:
        return [*training_scenes(config.first_seed, config.scenes)]
    try:
        return find_sources(config.data)
    except InvalidValue as error:
        raise InvalidValue(error.problem, field="--data", value=error.value, remedy=error.remedy) from error


def _prepared(
    config: StageConfig, sources: Sequence[SequenceSource], machine: Machine, pipeline: LongVie2Pipeline
) -> list[ClipSequence]:
    """The sequences at the model's size; each process prepares its share of them first."""
    clips = _SCENE_CLIPS if config.clips is None and config.data is None else config.clips
    height, width = pipeline.defaults.height, pipeline.defaults.width
    folder = config.folder / "sequences" if config.sequences is None else config.sequences
    own = sources[machine.rank :: machine.processes]
    for source in track(own, "preparing sequences", disable=not machine.first):
        cached(source, folder, clips=clips, height=height, width=width)
    machine.wait()
    return [cached(source, folder, clips=clips, height=height, width=width) for source in sources]


class _Training:
    """The steps of a stage."""

    def __init__(
        self,
        config: StageConfig,
        machine: Machine,
        pipeline: LongVie2Pipeline,
        model: nn.Module,
        state: TrainingState,
        samples: Samples,
    ) -> None:
        self.config, self.machine, self.pipeline = config, machine, pipeline
        self.model, self.state, self.samples = model, state, samples
        self.method = METHOD[config.stage]
        self.watch = Watch(config.folder / "curves") if machine.first else None

    def run(self, shown: ClipSequence) -> None:
        """Take the steps that are left, with a bar and its ETA; save, log and show as they are due."""
        config, state = self.config, self.state
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), disable=not self.machine.first) as bar:
            task = bar.add_task(f"stage {config.stage.value}", total=config.steps, completed=state.step)
            while state.step < config.steps:
                figures = self.step()
                bar.update(task, completed=state.step)
                last = state.step == config.steps
                if last or state.step % config.log_every == 0:
                    self._log(figures)
                if last or state.step % config.sample_every == 0:
                    self._show(shown)
                if last or state.step % config.save_every == 0:
                    state.save(write=self.machine.first)
        if self.watch is not None:
            self.watch.close()

    def step(self) -> dict[str, float]:
        """Take one step; return its figures.

        Raises:
            InvalidValue: the loss is not finite.
        """
        config, state = self.config, self.state
        plan = draw_plan(self.method, config.ablations, plan_random(config.seed, state.step))
        total = torch.zeros((), device=self.machine.device)
        for part in range(config.accumulate):
            own = own_random(config.seed, state.step, part, self.machine.rank)
            generator = step_generator(config.seed, state.step * config.accumulate + part, self.machine.rank)
            batch = self.samples.draw(plan, config.batch, own, generator)
            loss = self._loss(plan, batch, generator) / config.accumulate
            self.machine.backward(loss)
            total += loss.detach()
        mean = self.machine.mean(total)
        if not math.isfinite(mean):
            raise InvalidValue(
                f"is not finite at step {state.step}", field="loss", value=mean, remedy="Lower the learning rate."
            )
        norm = self.machine.clip(state.trained.values(), _LONGEST_GRADIENT)
        rate = config.rate(state.step)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.ema.step(state.trained.values())
        return {"loss": mean, "gradient": norm, "rate": rate, "history": plan.history, "spoilt": float(plan.spoilt)}

    def _loss(self, plan: StepPlan, batch: Batch, generator: torch.Generator) -> Tensor:
        given, device = batch.given, self.machine.device
        shift = float(self.pipeline.scheduler.config.shift)
        sigma = draw_sigma(len(batch.truth), shift=shift, pure_share=0.0, generator=generator).to(device)
        mixed = given.history if self.config.ablations.unified_noise else None
        noisy = make_noisy(batch.truth, mixed, sigma, generator)
        predicted = self.model(
            torch.cat([noisy.latents, given.image_latents], dim=1),
            1000 * sigma,
            given.text,
            given.image,
            given.dense,
            given.sparse,
            given.history,
            dense_scale=torch.full_like(sigma, plan.scale),
            return_dict=False,
        )[0]
        image = batch.image if self.method.way_out and plan.spoilt else None
        weight = timestep_weight(sigma, shift=shift)
        return flow_error(predicted, noisy, weight, image=image, history=given.history is not None)

    def _log(self, figures: dict[str, float]) -> None:
        if self.watch is None:
            return
        self.watch.curves(self.state.step, **figures)
        line = {"step": self.state.step, "time": round(time.time(), 1), **{k: float(v) for k, v in figures.items()}}
        with (self.config.folder / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _show(self, sequence: ClipSequence) -> None:
        """The average's first clips of a sequence, above the true ones."""
        if self.watch is None and not self.machine.shard:
            return
        ema, parameters = self.state.ema, list(self.state.trained.values())
        ema.store(parameters)
        ema.copy_to(parameters)
        world = LongVie2WorldModel(self.pipeline, name=self.config.stage.value)
        clips = islice(row_clips("model", world, sequence, sequence, seed=self.config.seed), _SHOWN_CLIPS)
        pairs = [(video, np.asarray(sequence.clip(k).rgb)) for k, (video, _) in enumerate(clips)]
        ema.restore(parameters)
        self.machine.reshare(self.model)
        if self.watch is not None:
            for number, pair in enumerate(pairs):
                self.watch.video(f"clip {number}", self.state.step, np.concatenate(pair, axis=1))
