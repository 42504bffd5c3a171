"""The signals that end a program, held back while it does what must not be left half done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Held:
    """What arrived while signals are held back."""

    def __init__(self) -> None:
        self.number = 0
        """The signal that is to be obeyed, 0 for none."""
        self.obeyed = ""
        """The name of the one that is being obeyed."""

    def note(self, number: int, frame: object) -> None:
        """A signal has arrived: the first one counts."""
        self.number = self.number or number

    def obey(self) -> None:
        """Where one can stop: raises KeyboardInterrupt or SystemExit if a signal has arrived."""
        if not self.number or self.obeyed:
            return
        import signal

        self.obeyed = signal.Signals(self.number).name
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.number)


@contextmanager
def held() -> Iterator[Held]:
    """Hold back SIGINT, SIGTERM and SIGHUP, but for one that is ignored. What was not obeyed at the end is
    then."""
    # A command of its own does not need it.
    import signal

    what = Held()
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            try:
                before[number] = signal.signal(number, what.note)
            except ValueError:
                break  # only the main thread is told of signals
    try:
        yield what
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if what.number and not what.obeyed:
            signal.raise_signal(what.number)
