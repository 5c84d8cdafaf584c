"""What the buttons do. The work is in `job`; here it is only turned by a timer, and shown."""

# No postponed annotations: Blender reads an operator's properties from them.
from typing import Any, ClassVar

import bpy

from bridge.errors import BridgeError
from bridge.geometry.fit import Fit

from ..capture import ShotCapture
from ..job import Job, JobState
from ..preview import paint_tick
from ..scene_guard import SceneGuard
from .orders import order_of, sampling_of
from .preferences import address_of
from .results import add_edit_scene, show_array, show_frame
from .state import STATE, Probe

__all__ = [
    "LONGVIE_OT_cancel",
    "LONGVIE_OT_connect",
    "LONGVIE_OT_generate",
    "LONGVIE_OT_preview",
    "redraw",
]

_TIMER_S = 0.05
_SLICE_S = 0.1
"""Of work per timer event, after which Blender draws. A tick that takes longer is not cut short: the interface then
waits for that one tick. Less would spend most of the time on drawing a viewport that nobody waits for."""


class LONGVIE_OT_connect(bpy.types.Operator):
    """Ask the server who it is and which models it has"""

    bl_idname = "longvie.connect"
    bl_label = "Connect"

    def execute(self, context: Any) -> set[str]:
        """Begin; a timer looks for the answer."""
        try:
            STATE.probe = Probe(address_of(context))
        except BridgeError as error:
            return _refused(self, error)
        STATE.message = ""
        bpy.app.timers.register(_look_for_answer, first_interval=0.1)
        return {"FINISHED"}


class LONGVIE_OT_preview(bpy.types.Operator):
    """Show the depth and the followed points of this moment in the Image Editor"""

    bl_idname = "longvie.preview"
    bl_label = "Preview depth and tracks"

    def execute(self, context: Any) -> set[str]:
        """Capture one tick; the scene stays where it is."""
        scene = context.scene
        model = STATE.probe.models[0] if STATE.probe is not None and STATE.probe.models else None
        size = (model.width, model.height) if model is not None else (640, 352)
        try:
            with SceneGuard(scene):
                fit = Fit(scene.longvie.fit)
                capture = ShotCapture(scene, context.view_layer, sampling=sampling_of(scene), size=size, fit=fit)
                index = min(capture.sampling.first_tick_at(scene.frame_current), capture.sampling.count - 1)
                show_array("LongVie preview", paint_tick(capture.tick(index, starts_clip=True)))
        except BridgeError as error:
            return _refused(self, error)
        STATE.message = ""
        return {"FINISHED"}


class LONGVIE_OT_generate(bpy.types.Operator):
    """Generate the shot on the server; frames appear in the Image Editor as they come"""

    bl_idname = "longvie.generate"
    bl_label = "Generate"
    bl_options: ClassVar[set[str]] = {"REGISTER"}

    resume: bpy.props.BoolProperty(
        name="Resume", default=False, options={"SKIP_SAVE"}, description="Go on with the unfinished shot in the folder"
    )

    @classmethod
    def poll(cls, context: Any) -> bool:
        """One job at a time, and no mesh in the middle of an edit."""
        return not STATE.running and context.mode != "EDIT_MESH"

    def execute(self, context: Any) -> set[str]:
        """Begin, and turn the job from a timer."""
        try:
            job = Job(
                context.scene,
                context.view_layer,
                address=address_of(context),
                order=order_of(context, resume=self.resume),
                resume=self.resume,
            )
        except BridgeError as error:
            return _refused(self, error)
        STATE.job, STATE.message = job, ""
        self._job, self._shown, self._scene_name = job, -1, context.scene.name
        manager = context.window_manager
        self._timer = manager.event_timer_add(_TIMER_S, window=context.window)
        manager.progress_begin(0, 100)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: Any, event: Any) -> set[str]:
        """Do a slice of work at every timer event; everything else passes through."""
        if event.type == "Z" and (event.ctrl or event.oskey) and self._job.needs_scene:
            return {"RUNNING_MODAL"}  # undo would pull the scene out from under the job: the key is kept from it
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        job = self._job
        try:
            job.tick(_SLICE_S)
            self._show(context)
        except Exception:
            # An operator that raises is turned no more: the job must not wait for it, nor the scene.
            job.cancel()
            self._finish(context)
            raise
        if not job.over:
            return {"PASS_THROUGH"}
        self._finish(context)
        return self._outcome(context)

    def cancel(self, context: Any) -> None:
        """Blender closes, or loads another file."""
        self._job.cancel()

    def _show(self, context: Any) -> None:
        newest = self._job.last_frame
        if newest != self._shown and newest >= 0 and self._job.folder.frame_path(newest).exists():
            show_frame(self._job.folder.frame_path(newest))
            self._shown = newest
        context.window_manager.progress_update(int(100 * self._job.progress.fraction))
        redraw()

    def _finish(self, context: Any) -> None:
        context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        redraw()

    def _outcome(self, context: Any) -> set[str]:
        job = self._job
        if job.state is JobState.DONE:
            scene = bpy.data.scenes.get(self._scene_name)
            if scene is not None:
                add_edit_scene(scene, job.folder, job.order.sampling)
            self.report({"INFO"}, f"{job.last_frame + 1} frames in {job.folder.path}")
            return {"FINISHED"}
        if job.error is not None:
            self.report({"ERROR"}, str(job.error))
        return {"CANCELLED"}


class LONGVIE_OT_cancel(bpy.types.Operator):
    """Stop now; the frames that came are kept"""

    bl_idname = "longvie.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Only what runs can be stopped."""
        return STATE.running

    def execute(self, context: Any) -> set[str]:
        """Stop; the operator that turns the job sees it."""
        STATE.stop()
        return {"FINISHED"}


def redraw() -> None:
    """Have every panel say the news."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "PROPERTIES"):
                area.tag_redraw()


def _look_for_answer() -> float | None:
    redraw()
    return None if STATE.probe is None or STATE.probe.over else 0.1


def _refused(operator: Any, error: BridgeError) -> set[str]:
    STATE.message = str(error)
    operator.report({"ERROR"}, STATE.message)
    return {"CANCELLED"}
