"""Long work shows how far it is, at a terminal only."""

from __future__ import annotations

import io

from isadmin.shell.plans import progress_of
from tests.shell.trees import Shown


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_long_work_shows_how_far_it_is_and_leaves_nothing_behind() -> None:
    shown = Shown()
    screen = shown.session.err = Screen()
    progress = progress_of(shown.session)
    assert progress is not None
    for done in range(1001):
        progress(done, 1000)
    text = screen.getvalue()
    assert text.startswith("\r0 of 1000 changes\r50 of 1000 changes")
    assert text.endswith("\r1000 of 1000 changes\r\033[K")
    assert "\n" not in text


def test_short_work_and_no_terminal_show_nothing() -> None:
    shown = Shown()
    assert progress_of(shown.session) is None
    screen = shown.session.err = Screen()
    progress = progress_of(shown.session)
    assert progress is not None
    for done in range(100):
        progress(done, 99)
    assert screen.getvalue() == ""
