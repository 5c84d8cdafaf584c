"""Numbered streams: nothing lost and nothing twice, over a connection that fails as it likes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ProtocolError
from bridge.protocol.numbered import NumberedReceiver, NumberedSender


@given(script=st.lists(st.sampled_from(["append", "deliver", "lose", "acknowledge", "reconnect"]), max_size=200))
def test_each_message_arrives_once_in_order(script: list[str]) -> None:
    sender: NumberedSender[tuple[int, str]] = NumberedSender()
    receiver = NumberedReceiver()
    network: list[tuple[int, str]] = []
    arrived: list[str] = []

    def deliver() -> None:
        number, text = network.pop(0)
        if receiver.take(number):
            arrived.append(text)

    for action in [*script, "reconnect"]:
        if action == "append":
            network.append(sender.append(lambda seq: (seq, f"message {seq}")))
        elif action == "deliver" and network:
            deliver()
        elif action == "lose":
            network.clear()  # a connection loses everything that is under way, never one message in the middle
        elif action == "acknowledge":
            sender.acknowledge(receiver.received)
        elif action == "reconnect":
            sender.acknowledge(receiver.received)
            network = list(sender.unacknowledged())
        if action == "lose":
            network = list(sender.unacknowledged())
    while network:
        deliver()
    assert arrived == [f"message {n}" for n in range(1, sender.last + 1)]


def test_a_gap_is_told() -> None:
    receiver = NumberedReceiver()
    assert receiver.take(1)
    assert not receiver.take(1)
    with pytest.raises(ProtocolError, match="expected message number 2"):
        receiver.take(3)


def test_what_was_never_sent_cannot_be_acknowledged() -> None:
    sender: NumberedSender[int] = NumberedSender()
    sender.append(lambda seq: seq)
    assert sender.acknowledge(1) == [1]
    assert len(sender) == 0
    with pytest.raises(ProtocolError, match="received_seq"):
        sender.acknowledge(2)
