"""Every error a user can meet, and the exit status each one ends with.

    IsadminError                 1  the command was understood and failed
      UsageError                 2  the words typed are wrong: unknown command, path, argument, type of value
      NoTargetError              3  there is no target to talk to, or the userspace one cannot start
      LockedError                4  another process is changing the configuration and did not finish in time
      NoFileError                5  there is no such file: no saved configuration, or none of that name
      RefusedFileError           6  the file is not acceptable as a saved configuration; nothing was changed
      PartlyRestoredError        7  some of the saved configuration could not be restored
      PermissionDeniedError      8  the change needs root (or a capability) that the user does not have

No error, but not 0 either, is DIFFERENT (9): `diff` found a difference.

An error says what and where in `str(error)`, and what to do about it in `remedy`. Only cli.py prints them.
"""

from __future__ import annotations

DIFFERENT = 9
LONGEST = 2000
"""Characters of what an error says, and of its remedy."""


RESTORED = {0: "restored", 5: "no file", 6: "refused", 7: "partly restored"}
"""What became of a saved configuration, by the exit status of restoring it; any other means "failed"."""


class IsadminError(Exception):
    """A failure to report to the user in one line: what, where, and the remedy."""

    status = 1

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy

    def line(self) -> str:
        """The whole report as one line, without a trailing newline."""
        text = _one_line(str(self))
        return f"{text}: {_one_line(self.remedy)}" if self.remedy else text


def _one_line(text: str) -> str:
    """A text as it can be shown whatever was typed: not too long, nothing that moves a cursor."""
    text = " ".join(text.split("\n"))
    if len(text) > LONGEST:
        text = f"{text[: LONGEST * 2 // 3]}...{text[-LONGEST // 4 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class UsageError(IsadminError):
    status = 2

    def caret(self) -> str:
        """Lines for a terminal that point at what is wrong in a line that was typed; empty where no place is
        known, or a secret would show."""
        return ""


class NoTargetError(IsadminError):
    status = 3


class LockedError(IsadminError):
    status = 4


class NoFileError(IsadminError):
    status = 5


class RefusedFileError(IsadminError):
    status = 6


class PartlyRestoredError(IsadminError):
    status = 7


class PermissionDeniedError(IsadminError):
    status = 8
