"""The scene as it was found, whatever happens in between."""

from __future__ import annotations

from types import TracebackType
from typing import Any

__all__ = ["SceneGuard"]


class SceneGuard:
    """Remembers what a capture moves, the scene's frame, and puts it back. A context manager, or call `restore`.

    Capturing changes nothing else: it renders nothing, selects nothing and writes no setting.
    """

    def __init__(self, scene: Any) -> None:
        self._scene: Any = scene
        self._frame = (scene.frame_current, scene.frame_subframe)

    def restore(self) -> None:
        """Put the scene back; a second call does nothing, and a scene that was deleted needs nothing."""
        scene, self._scene = self._scene, None
        if scene is None:
            return
        try:
            scene.frame_set(self._frame[0], subframe=self._frame[1])
        except ReferenceError:
            return  # the scene, or its whole file, was closed meanwhile

    def __enter__(self) -> SceneGuard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()
