"""A worker whose model does what its name and its clips' prompts say; otherwise it is the fake.

Model names: "refused", "broken", "crash", "never" fail to load, each in its own way; others are the fake's.
Prompts: see `ScriptedModel.step`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import numpy as np

from bridge.errors import InvalidValue
from bridge.tick import CLIP_TICKS, WorldState
from longvie_server.worker import ModelChoice
from longvie_server.worker.child import main
from longvie_server.world_model.interface import ControlClip, ModelSpec, StepEvent, StepFrames, StepProgress, WorldModel
from longvie_server.world_model.registry import load_model


class ScriptedModel:
    def __init__(self, fake: WorldModel) -> None:
        self._fake = fake

    @property
    def spec(self) -> ModelSpec:
        return self._fake.spec

    def step(self, state: WorldState, controls: ControlClip) -> Generator[StepEvent, None, WorldState]:
        word, _, rest = state.prompt.partition(" ")
        if word == "die":
            print("about to die", file=sys.stderr, flush=True)
            os._exit(9)
        if word == "raise":
            raise RuntimeError(rest)
        if word == "endless":
            done = 0
            while True:
                done += 1
                # As a real step, it takes a while: the parent is told of progress, not flooded.
                threading.Event().wait(0.01)
                yield StepProgress("denoise", done, sys.maxsize)
        if word == "anchor":
            # The frame first, then the grey; black where there is none.
            anchor = np.zeros((*state.image.shape[:2], 4), np.uint8) if state.anchor is None else state.anchor
            yield StepFrames(anchor[None, ..., :3])
            yield StepFrames(np.broadcast_to(anchor[..., 3:], (CLIP_TICKS - 1, *state.image.shape)))
            return state
        if word == "print":
            print("this goes to the log")
        # The first worker hangs; the next one, which finds the mark, goes through.
        hangs = word == "hang" or (word == "hang-once" and not Path(rest).exists())
        if word == "hang-once":
            Path(rest).touch()
        for event in self._fake.step(state, controls):
            yield event
            if hangs and isinstance(event, StepFrames) and len(event.frames) == 4:
                threading.Event().wait()
        return state


def load(choice: ModelChoice) -> WorldModel:
    name = choice.name
    if name == "refused":
        raise InvalidValue("no such model", field="model", value=name, remedy="Choose fake.")
    if name == "broken":
        raise OSError("weights are torn")
    if name == "crash":
        print("segmentation fault, so to speak", file=sys.stderr, flush=True)
        os._exit(11)
    if name == "never":
        threading.Event().wait()
    return ScriptedModel(load_model(name, device=choice.device, threads=choice.threads))


if __name__ == "__main__":
    sys.exit(main(load=load))
