"""Fixtures of a running target."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.userspace.holding import Held
from tests.userspace.rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held(monkeypatch)
    yield held
    held.go.set()
