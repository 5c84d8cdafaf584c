"""What stands in the picture that a run leaves behind."""

from __future__ import annotations

from longvie_server.output.folder import _is_moment, _shown


def test_a_strip_begins_with_the_first_clips_and_ends_with_the_last_moments() -> None:
    moments = [count for count in range(80 * 61) if _is_moment(count)]
    assert [count / 16 for count in moments] == [0, 5, 10, 15, 30, 60, 120, 240]
    assert _shown(["0 s"]) == ["0 s"]
    assert _shown(["0 s", "5 s", "10 s"]) == ["0 s", "5 s", "10 s"]
    assert _shown(["0 s", "5 s", "10 s", "15 s", "30 s", "60 s"]) == ["0 s", "5 s", "30 s", "60 s"]
