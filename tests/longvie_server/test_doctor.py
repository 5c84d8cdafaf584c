"""The doctor says beforehand how the real model would lie on a card, and what it would take there."""

from __future__ import annotations

import pytest

from longvie_server.doctor import check_memory

GB = 10**9


def test_a_card_is_told_its_profile_its_peak_and_its_time() -> None:
    # 100, 60 and 4 passes of 1e15 operations at 0.7 of 1e15 per second.
    check = check_memory(device_bytes=78 * GB, host_bytes=64 * GB, rate=1e15)
    assert check.status == "ok"
    assert check.text.startswith("resident: everything stays on the device; about 5")
    assert check.text.endswith("to denoise a clip at 1000 TFLOP/s: final 143 s, balanced 86 s, preview 6 s")


@pytest.mark.parametrize(("device_gb", "profile"), [(47, "encoders-offloaded"), (31, "float8"), (15, "offloaded")])
def test_smaller_cards_get_smaller_profiles(device_gb: int, profile: str) -> None:
    check = check_memory(device_bytes=device_gb * GB, host_bytes=64 * GB, rate=1e14)
    assert check.text.startswith(f"{profile}: ")


def test_a_card_that_is_too_small_is_told_what_is_lacking() -> None:
    check = check_memory(device_bytes=4 * GB, host_bytes=64 * GB, rate=1e13)
    assert check.status == "warning"
    assert "4 GB and 64 GB free" in check.text
    assert "tiny" in check.remedy
