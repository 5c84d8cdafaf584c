"""From an `Open` to a session: everything that can be wrong with it is found here, before anything is kept."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bridge.errors import InvalidValue, ProtocolError
from bridge.geometry.fit import Fit, FitMap
from bridge.messages import Limits, ModelInfo, Open, Plane
from bridge.planes import FRAME_ENCODINGS, image_from_plane
from bridge.protocol.values import range_from_message, state_from_message
from bridge.tick import TRACK_COUNT, TrackMode, WorldState

from ..world_model.interface import ModelSpec, new_state
from .assembler import ClipAssembler
from .clip_buffer import BufferPool
from .recorder import record_session
from .reduce import TickReducer
from .script import MAX_PROMPT_CHARACTERS
from .session import CREDIT_TICKS, Session

__all__ = ["fit_first_frame", "model_info", "open_session"]

_TRACK_BYTES: Final = TRACK_COUNT * (2 * 4 + 4 + 1)


def model_info(spec: ModelSpec) -> ModelInfo:
    """Return what a client is told of a model."""
    return ModelInfo(spec.name, spec.height, spec.width, spec.fps, spec.steps, dict(spec.numerics))


def open_session(
    request: Open,
    *,
    name: str,
    spec: ModelSpec,
    limits: Limits,
    credit_bytes: int,
    pool: BufferPool,
    record_dir: Path | None = None,
) -> Session:
    """Return the session that a client asks for.

    Args:
        request: as it came.
        name: of the new session.
        spec: of the server's model.
        limits: on planes.
        credit_bytes: memory for ticks that are not yet control pixels.
        pool: buffers of the model's size, shared by the server's sessions.
        record_dir: where recordings are kept; None: nowhere.

    Raises:
        UsageError: a field is wrong; it is named, with the remedy.
        ProtocolError: the first frame is no image, or the key is no key.
    """
    if len(request.key) < 32 or not set(request.key) <= set(string.hexdigits):
        raise ProtocolError(
            "must be at least 32 hex digits", field="open.key", value=request.key[:8], remedy="Make it at random."
        )
    if request.model not in ("", spec.name):
        raise InvalidValue(
            f"this server offers {spec.name!r}",
            field="model",
            value=request.model,
            remedy=f"Leave model out, or start `longvie serve --model {request.model}`.",
        )
    _check_choice("frame_encoding", request.frame_encoding, FRAME_ENCODINGS)
    _check_choice("track_mode", request.track_mode, [mode.value for mode in TrackMode])
    _check_choice("fit", request.fit, ["", *(fit.value for fit in Fit)])
    if request.frame_credit < 1 or not 1 <= request.jpeg_quality <= 100 or request.first_tick < 0:
        raise InvalidValue(
            "need frame_credit >= 1, jpeg_quality 1..100 and first_tick >= 0",
            field="open",
            value=f"{request.frame_credit}, {request.jpeg_quality}, {request.first_tick}",
            remedy="Leave them out for their defaults.",
        )
    _check_numerics(request.numerics, spec.numerics)
    fit = Fit(request.fit) if request.fit else None
    state = _first_state(request, spec, limits, fit)
    tick_bytes = spec.height * spec.width * 4 + _TRACK_BYTES
    reducer = TickReducer(TrackMode(request.track_mode), height=spec.height, width=spec.width, fit=fit)
    return Session(
        name=name,
        state=state,
        assembler=ClipAssembler(reducer, pool, first_tick=state.next_tick, shares_tick=state.shares_tick),
        pool=pool,
        limits=limits,
        frame_credit=request.frame_credit,
        # A clip and one tick must fit, or no clip would ever be complete.
        credit_ticks=max(CREDIT_TICKS - 15, min(CREDIT_TICKS, credit_bytes // tick_bytes)),
        recorder=record_session(request, name=name, state=state, spec=spec, limits=limits, folder=record_dir),
        fit_image=lambda plane: fit_first_frame(plane, spec=spec, limits=limits, fit=fit),
    )


def fit_first_frame(plane: Plane, *, spec: ModelSpec, limits: Limits, fit: Fit | None) -> NDArray[np.uint8]:
    """Return a first frame at the model's size, (height, width, 3) uint8.

    Raises:
        ProtocolError: it is no image.
        InvalidValue: its aspect is not the model's, and there is no fit.
    """
    image = image_from_plane(plane, name="first_frame", limits=limits)
    size = (image.shape[1], image.shape[0])
    try:
        fitted = FitMap.between(size, (spec.width, spec.height), fit=fit)
    except InvalidValue as error:
        error.problem = f"first_frame: {error.problem}"
        raise
    return np.asarray(fitted.image(Image.fromarray(image)))


def _first_state(request: Open, spec: ModelSpec, limits: Limits, fit: Fit | None) -> WorldState:
    if request.continue_from is not None:
        state = state_from_message(request.continue_from, limits)
        if state.model != spec.name or state.image.shape[:2] != (spec.height, spec.width):
            raise InvalidValue(
                f"comes from model {state.model!r} at {state.image.shape[1]} x {state.image.shape[0]}; "
                f"this server runs {spec.name!r} at {spec.width} x {spec.height}",
                field="continue_from",
                remedy="Continue on a server with the same model, or begin anew with first_frame.",
            )
        return replace(state, prompt=request.prompt) if request.prompt.strip() else state
    if request.first_frame is None:
        raise InvalidValue(
            "is missing", field="first_frame", remedy="Send the image the video starts from, or continue_from."
        )
    if len(request.prompt) > MAX_PROMPT_CHARACTERS:
        raise InvalidValue(
            f"is over {MAX_PROMPT_CHARACTERS} characters",
            field="prompt",
            value=f"{len(request.prompt)} characters",
            remedy="Shorten it: the model reads about 512 tokens.",
        )
    return new_state(
        spec,
        first_frame=fit_first_frame(request.first_frame, spec=spec, limits=limits, fit=fit),
        prompt=request.prompt,
        seed=request.seed,
        first_tick=request.first_tick,
        negative_prompt=request.negative_prompt,
        depth_range=range_from_message(request.depth_range),
    )


def _check_choice(name: str, value: str, known: list[str] | tuple[str, ...]) -> None:
    if value not in known:
        names = ", ".join(repr(choice) for choice in known)
        raise InvalidValue("unknown", field=name, value=value, remedy=f"Use one of {names}.")


def _check_numerics(wanted: Mapping[str, str], offered: Mapping[str, str]) -> None:
    different = {key: (value, offered.get(key)) for key, value in wanted.items() if offered.get(key) != value}
    if different:
        text = "; ".join(f"{key}: wanted {want!r}, have {have!r}" for key, (want, have) in sorted(different.items()))
        raise InvalidValue(
            "this server computes otherwise, so the same bytes are not promised",
            field="numerics",
            value=text,
            remedy="Start the server with these settings, or open without numerics.",
        )
