"""What is found out beside typing: asked for once, told when it is there, forgotten after a command."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from isadmin.lio import sessions
from isadmin.shell.background import Background
from tests.shell.trees import Shown


@contextmanager
def running(shown: Shown) -> Iterator[tuple[Background, queue.SimpleQueue[None]]]:
    told: queue.SimpleQueue[None] = queue.SimpleQueue()
    background = Background(shown.session, lambda: told.put(None))
    background.start()
    try:
        yield background, told
    finally:
        background.stop()


def test_commands_of_another_place_are_known_a_little_later() -> None:
    with running(Shown()) as (background, told):
        assert background.commands_at("/a") is None
        told.get(timeout=60)
        commands = background.commands_at("/a")
        assert commands is not None
        assert commands["create"] == frozenset({"name", "size", "wwn"})
        assert commands["info"] is None
        assert background.commands_at("/nosuch") is None
        told.get(timeout=60)
        assert background.commands_at("/nosuch") == {}
        assert background.version == 2


def test_commands_of_this_place_are_known_at_once() -> None:
    background = Background(Shown().session, lambda: None)
    assert background.commands_at("") is not None


def test_sessions_are_counted_again_after_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: queue.SimpleQueue[int] = queue.SimpleQueue()
    for count in (2, 3):
        counts.put(count)
    monkeypatch.setattr(sessions, "all_sessions", lambda lio: [None] * counts.get(timeout=60))
    with running(Shown()) as (background, told):
        told.get(timeout=60)
        assert background.sessions == 2
        background.forget()
        told.get(timeout=60)
        assert background.sessions == 3


def test_a_target_that_cannot_be_read_is_no_end() -> None:
    with running(Shown()) as (background, told):
        background.forget()
        assert background.commands_at("/c") is None
        told.get(timeout=60)
        assert background.sessions is None
