"""configfs files and directories with the fewest system calls, and none that a refused value would repeat."""

from __future__ import annotations

import os


def read(path: str) -> str:
    """The whole content, without blanks around it (rtslib's habit: saved files compare equal).

    Raises OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(fd, 65536)
    finally:
        os.close(fd)
    return content.decode("utf-8", "surrogateescape").strip()


def read_or(path: str, default: str) -> str:
    """The same, or default if there is no such file or it does not answer (a LUN without device: ENODEV)."""
    try:
        return read(path)
    except OSError:
        return default


def write(path: str, text: str) -> None:
    """Store text with one write(2). Python's own files flush a refused value a second time when they are
    closed, which configfs takes as a second store. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(fd)


def names(path: str) -> list[str]:
    """The entries of a directory, [] if it is not there."""
    try:
        return os.listdir(path)  # noqa: PTH208 - names are all that is wanted
    except (FileNotFoundError, NotADirectoryError):
        return []


def link(directory: str) -> tuple[str, str] | None:
    """Name and absolute target of the one symbolic link in a LUN's directory, None if there is none."""
    try:
        with os.scandir(directory) as entries:
            name = next((entry.name for entry in entries if entry.is_symlink()), None)
        if name is None:
            return None
        target = os.readlink(f"{directory}/{name}")  # noqa: PTH115 - in the inner loop of ls
    except FileNotFoundError:
        return None
    return name, os.path.normpath(os.path.join(directory, target))  # noqa: PTH118 - as above


def numbered(directory: str, prefix: str) -> list[int]:
    """The numbers n of the entries <prefix><n>, in order."""
    found = []
    for name in names(directory):
        if name.startswith(prefix):
            try:
                found.append(int(name[len(prefix) :], 0))
            except ValueError:
                continue
    return sorted(found)
