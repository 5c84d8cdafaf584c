"""What runs now, for all windows of this Blender: at most one job and one attempt to connect."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import bridge
from bridge.errors import BridgeError, OutOfOrder
from bridge.messages import ModelInfo

from ..job import Job
from ..order import ServerAddress
from ..remedies import speak_to_artists

__all__ = ["STATE", "Probe", "UiState"]


class Probe:
    """An attempt to connect, on a thread of its own."""

    def __init__(self, address: ServerAddress) -> None:
        self.address = address
        self.models: tuple[ModelInfo, ...] = ()
        self.error: BridgeError | None = None
        self.over = False
        threading.Thread(target=self._run, name="longvie-connect", daemon=True).start()

    def sentence(self) -> str:
        """Say how it went."""
        if not self.over:
            return f"Connecting to {self.address.url} ..."
        if self.error is not None:
            return str(self.error)
        return f"Connected: {', '.join(_described(model) for model in self.models)}"

    def _run(self) -> None:
        address = self.address
        try:
            with bridge.connect(
                address.url, token=address.token, server_key=address.server_key, timeout_s=8.0
            ) as server:
                self.models = server.models
        except BridgeError as error:
            self.error = speak_to_artists(error)
        except Exception as error:
            self.error = BridgeError("failed inside", value=repr(error), remedy="Please report this message.")
        finally:
            self.over = True


@dataclass
class UiState:
    """What the panels show.

    Args:
        job: the running one, or the last.
        probe: the running attempt to connect, or the last.
        message: what went wrong before a job could begin.
    """

    job: Job | None = None
    probe: Probe | None = None
    message: str = ""

    @property
    def running(self) -> bool:
        """Whether a job runs."""
        return self.job is not None and not self.job.over

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models of the server that was connected to last."""
        return () if self.probe is None else tuple(model.name for model in self.probe.models)

    def stop(self) -> None:
        """Stop the job: the file is closed, or the add-on switched off."""
        if self.job is not None:
            self.job.cancel()

    def lose_scene(self) -> None:
        """Stop the job where an undo would change the scene under it, and say so."""
        if self.job is not None:
            self.job.lose_scene(
                OutOfOrder(
                    "an undo or redo would have changed the scene in the middle of its shot, so the shot was stopped",
                    field="undo",
                    remedy="Press Resume where the scene is as it was, otherwise Generate: frames that came are kept.",
                )
            )


def _described(model: ModelInfo) -> str:
    quality = model.numerics.get("quality")
    return f"{model.name} ({model.width} x {model.height}{f', quality {quality}' if quality else ''})"


STATE = UiState()
