"""A job in real Blender: the scene is left as it was found, and what goes wrong is a sentence with a remedy."""

from __future__ import annotations

from typing import Any

import pytest

from longvie_server.drive.server_process import ServerProcess

pytestmark = pytest.mark.blender


@pytest.fixture(scope="module")
def cases(run_inside, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("jobs")
    with ServerProcess("fake:48x80", log=folder / "server.log") as server:
        return run_inside("job_cases", server.endpoint, str(folder))


@pytest.mark.parametrize("case", ["done", "cancelled", "camera_turned_orthographic", "a_bug"])
def test_the_scene_is_left_as_it_was_found(cases, case: str) -> None:
    assert cases[case]["same"]


def test_a_job_runs_to_its_end(cases) -> None:
    assert cases["done"]["state"] == "done"
    # 59 frames of 24 a second, in sixteenths, and the first.
    assert cases["done"]["frames"] == 40
    assert cases["done"]["progress"] == 1.0


def test_cancel(cases) -> None:
    assert cases["cancelled"]["state"] == "cancelled"
    assert cases["cancelled"]["moved"], "the scene was in the middle of the shot"
    assert cases["cancelled"]["error"] == ""


def test_a_camera_that_changes_in_mid_shot(cases) -> None:
    assert cases["camera_turned_orthographic"]["state"] == "failed"
    assert "Set the camera's Type to Perspective" in cases["camera_turned_orthographic"]["error"]


def test_a_bug_is_not_hidden(cases) -> None:
    assert cases["a_bug"]["state"] == "failed"
    assert cases["a_bug"]["raised"] == "a bug"


def test_a_still_as_first_frame(cases) -> None:
    assert cases["still"]["size"] == [160, 90]
    assert cases["still"]["format"] == "PNG"
    assert cases["still"]["kept"], "the user's own file format and path are as they were"


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("no_camera", "scene.camera: the scene has no camera (got None). Add one (Shift A, Camera)"),
        ("orthographic", "camera type: only perspective cameras can be captured (got Camera, ortho). Set the camera's"),
        ("panoramic", "camera type: only perspective cameras can be captured (got Camera, pano). Set the camera's"),
        ("no_pixels", "render resolution: the render has no pixels (got 64 x 90 at 1 %). Raise Resolution"),
        ("a_cube_as_camera", "scene.camera: is no camera, but an object that is used as one (got Cube, mesh). Choose"),
        ("a_cut", "timeline marker: the shot cuts to another camera inside the frame range (got Close-up at frame 30)"),
        ("empty_prompt", "prompt: must not be empty. Describe what the video shows."),
        ("empty_range", "frame range: ends before it starts (got 9 to 8). Set Start and End"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(cases, case: str, sentence: str) -> None:
    assert cases["sentences"][case].startswith(sentence)


def test_what_the_viewport_hides_is_named(cases) -> None:
    assert cases["warnings"]["hidden"] == ["A"], "hidden in the viewport, shown in renders"


def test_markers_name_prompts(cases) -> None:
    # Frame 31 is 30 / 24 s into the shot, tick 20; frame 4 is tick 2.
    assert cases["markers"] == [[2, "rain"], [20, "snow"]]
