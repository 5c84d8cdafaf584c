from __future__ import annotations

import dataclasses
import json

import numpy as np

from longvie_server.bench.control import ControlBench, bench_control, bench_geometry

FIGURES = ControlBench(
    height=352,
    width=640,
    plain_loop_s=0.5,
    painting_s=0.125,
    whole_clip_s=1.0,
    dense_s=0.05,
    resize_s=0.6,
    measure_range_s=0.1,
    same_pixels=True,
)


def test_figures_and_limits() -> None:
    assert FIGURES.painting_speedup == 4.0
    assert FIGURES.whole_clip_share == 2.0
    assert FIGURES.passed
    assert not dataclasses.replace(FIGURES, painting_s=0.126).passed
    assert not dataclasses.replace(FIGURES, whole_clip_s=1.01).passed
    assert not dataclasses.replace(FIGURES, same_pixels=False).passed


def test_json_holds_every_figure() -> None:
    figures = json.loads(json.dumps(FIGURES.as_json()))
    assert figures["painting_speedup"] == 4.0
    assert figures["frames"] * figures["points"] == 81 * 2500
    assert figures["passed"] is True


def test_table_names_what_is_wanted() -> None:
    rows = {what: (measured, wanted) for what, measured, wanted in FIGURES.table_rows()}
    assert rows["painting beside the plain loop"] == ("4.0 x as fast", "at least 4")
    assert rows["whole clip beside the plain loop"] == ("2.00 of the plain loop", "at most 2")


def test_the_made_up_clip_exercises_the_painter() -> None:
    clip = bench_geometry(height=24, width=40)
    assert clip.track_uv.shape == (81, 2500, 2)
    assert np.isinf(clip.depth_m).any()
    outside = ((clip.track_uv < 0) | (clip.track_uv > 1)).any(axis=2)
    assert 0 < outside.mean() < 0.1
    assert np.unique(clip.track_depth_m[0]).size > 1000


def test_measures_with_the_clock_it_is_given() -> None:
    reads = iter(range(1000))
    bench = bench_control(height=24, width=40, repeats=1, clock=lambda: float(next(reads)))
    assert bench.same_pixels
    assert bench.plain_loop_s == bench.painting_s == bench.whole_clip_s == 1.0
