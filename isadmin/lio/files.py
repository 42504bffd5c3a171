"""configfs files and directories with the fewest system calls, and none that a refused value would repeat."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from contextvars import ContextVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from isadmin.lio.told import Directory, Look


class Pretended:
    """What a rehearsal answers in the place of configfs: what it made, removed and wrote. `written` is told
    of each value that would be written."""

    def __init__(self, written: Callable[[str, str], None]) -> None:
        self.written = written
        self._texts: dict[str, str] = {}
        self._there: dict[str, bool] = {}

    def make(self, path: str, texts: Mapping[str, str]) -> None:
        """A directory, and what its files say."""
        self._there[path] = True
        self._texts |= {f"{path}/{name}": text for name, text in texts.items()}

    def remove(self, path: str) -> None:
        """A directory that is gone."""
        self._there[path] = False

    def write(self, path: str, text: str) -> None:
        """A value that is read back from now on."""
        self.written(path, text)
        self._texts[path] = text.strip()

    def text(self, path: str) -> str | None:
        """What a file says, None for one that was not written."""
        return self._texts.get(path)

    def is_there(self, path: str) -> bool | None:
        """Is there a directory? None: look."""
        return self._there.get(path)


pretended: Pretended | None = None
"""While it is there, nothing is written (see rehearsal.py)."""


class Memory:
    """What was last read, by its path: files' texts, and the links in directories."""

    __slots__ = ("links", "texts")

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.links: dict[str, tuple[str, str]] = {}

    def changes(self, path: str) -> None:
        """Something at a path is about to change: a value that is set may change others."""
        self.texts.clear()
        self.links.pop(path, None)
        self.links.pop(path.rpartition("/")[0], None)


CONTENT = "user.isadmin.content"
"""What the userspace target calls the content of a file (its configfs/fuse.py)."""
_UNTOLD = (errno.EOPNOTSUPP, errno.ENODATA, errno.ENOSYS)
_KERNELS = ("/sys/", "/proc/")
"""Where nothing is told so, and reading is quick: all of it but configfs, which may be the userspace target's
(`userspace exec`)."""
_CONFIGFS = "/sys/kernel/config/"
_is_silent = False
"""configfs was asked once, and is the kernel's."""
_MANY = 16
_PAGE = 4096
"""Bytes of a file of configfs at the most, on most machines: room for more costs time at every read."""

remembered: Memory | None = None
"""While a command's changes are watched (see touched.py), which looks at what the command has just read."""

_looking: ContextVar[Look | None] = ContextVar("looking", default=None)
"""While this thread looks at everything (see looking)."""


@contextmanager
def looking(path: str) -> Iterator[None]:
    """For a look at everything of the target at a path, which this thread does not change meanwhile: what the
    userspace target tells of whole directories is asked for once, and forgotten after it."""
    if _is_small(path) or not _tells(path):
        yield
        return
    from isadmin.lio.told import Look

    before = _looking.set(Look())
    try:
        yield
    finally:
        _looking.reset(before)


def _seen(directory: str) -> Directory | None:
    """A directory as this look at everything finds it; None where it is to be read."""
    look = _looking.get()
    return None if look is None or _silent(directory) else look.at(directory)


def read(path: str) -> str:
    """The whole content, without blanks around it (rtslib's habit: saved files compare equal).

    Raises OSError.
    """
    if pretended is not None and (text := pretended.text(path)) is not None:
        return text
    if _looking.get() is not None:
        directory, _, name = path.rpartition("/")
        seen = _seen(directory)
        if seen is not None and name in seen.texts:
            return seen.texts[name]
    content = None if _silent(path) else _told_of(path)
    text = (_read(path) if content is None else content).decode("utf-8", "surrogateescape").strip()
    if remembered is not None:
        remembered.texts[path] = text
    return text


def _silent(path: str) -> bool:
    """Whether nothing is told of a path in one request, as far as is known."""
    return path.startswith(_KERNELS) and (_is_silent or not path.startswith(_CONFIGFS))


def _is_small(path: str) -> bool:
    """Whether a target has so few backstores that to read what there is takes no longer than to load what
    asks for it."""
    try:
        return os.stat(f"{path}/core").st_nlink < _MANY
    except OSError:
        return True


def _tells(path: str) -> bool:
    """Whether anything is told of what is below a path."""
    try:
        return not _silent(path) and _told_of(path) is not None
    except OSError:
        return False


def _told_of(path: str) -> bytes | None:
    """A file's content, or a directory's, in one request; None where the target does not tell. Raises
    OSError."""
    global _is_silent
    try:
        return os.getxattr(path, CONTENT)
    except OSError as error:
        if error.errno not in _UNTOLD:
            raise
        _is_silent = _is_silent or path.startswith(_CONFIGFS)
        return None


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(fd, _PAGE)
        while content and len(content) % _PAGE == 0 and (more := os.read(fd, _PAGE)):
            content += more
    finally:
        os.close(fd)
    return content


def known(path: str) -> str:
    """What a file says, by the last look at it if nothing has changed since. Raises OSError."""
    text = None if remembered is None else remembered.texts.get(path)
    return read(path) if text is None else text


def read_or(path: str, default: str) -> str:
    """The same, or default if there is no such file or it does not answer (a LUN without device: ENODEV)."""
    try:
        return read(path)
    except OSError:
        return default


def contents(directory: str) -> dict[str, str] | None:
    """What each file of a directory that can be read says, as `read` does; None where they have to be read
    one by one, as in the kernel's configfs."""
    if pretended is not None or _silent(directory):
        return None
    found = _directory(directory) if _looking.get() is None else _seen(directory)
    if found is None or not found.whole:
        return None
    if remembered is not None:
        remembered.texts |= {f"{directory}/{name}": text for name, text in found.texts.items()}
    return found.texts


def _directory(path: str) -> Directory | None:
    from isadmin.lio import told

    return told.directory(path)


def write(path: str, text: str) -> None:
    """Store text with one write(2). Python's own files flush a refused value a second time when they are
    closed, which configfs takes as a second store. Raises OSError."""
    if path.endswith(CRASHING):
        _refuse_a_crash(path, text)
    if pretended is not None:
        pretended.write(path, text)
        return
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(fd)


CRASHING = ("/attrib/emulate_tpu", "/attrib/emulate_tpws", "/alua_lu_gp")
"""Files to which kernels (6.1 among them) must not be written everything."""


def _refuse_a_crash(path: str, text: str) -> None:
    """Raises OSError for a value that would bring the kernel down: thin provisioning of a storage object that
    has no file or device yet, leaving a logical unit group when in none."""
    if path.endswith("/alua_lu_gp"):
        refused = text.strip() == "NULL" and not read_or(path, "")
    else:
        refused = read_or(f"{path.rsplit('/', 2)[0]}/enable", "1") == "0"
    if refused:
        raise OSError(errno.EINVAL, "this would crash the kernel", path)


def is_dir(path: str) -> bool:
    """Is there such a directory?"""
    if pretended is not None and (there := pretended.is_there(path)) is not None:
        return there
    return os.path.isdir(path)


def gone(error: OSError) -> bool:
    """Does an error say that what was just listed is not there any more?"""
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


def names(path: str) -> list[str]:
    """The entries of a directory, [] if it is not there."""
    found = _seen(path)
    if found is not None:
        return list(found.order)
    try:
        return os.listdir(path)
    except OSError as error:
        if gone(error):
            return []
        raise


def directories(path: str) -> list[str]:
    """The directories in a directory, [] if it is not there."""
    found = _seen(path)
    if found is not None:
        return found.directories
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except OSError as error:
        if gone(error):
            return []
        raise


def link(directory: str) -> tuple[str, str] | None:
    """Name and absolute target of the one symbolic link in a LUN's directory, None if there is none."""
    if remembered is not None and directory in remembered.links:
        return remembered.links[directory]
    try:
        name, target = _named_link(directory) or _found_link(directory)
    except OSError as error:
        if gone(error):
            return None
        raise
    if not name:
        return None
    found = (name, os.path.normpath(os.path.join(directory, target)))
    if remembered is not None:
        remembered.links[directory] = found
        note_link(directory, name)
    return found


NAMES_KEPT = 10_000
_link_names: dict[str, str] = {}
"""What the link in a directory was called when it was looked for last."""


def _named_link(directory: str) -> tuple[str, str] | None:
    """The link by its remembered name, None if there is none of that name: LIO has one link in a LUN, so this
    one, while it is there, is the one."""
    name = _link_names.get(directory)
    if name is not None:
        try:
            return name, os.readlink(f"{directory}/{name}")
        except OSError:
            del _link_names[directory]
    return None


def _found_link(directory: str) -> tuple[str, str]:
    found = _seen(directory)
    if found is not None:
        return next(iter(found.links.items()), ("", ""))
    with os.scandir(directory) as entries:
        name = next((entry.name for entry in entries if entry.is_symlink()), "")
    return name, os.readlink(f"{directory}/{name}") if name else ""


def note_link(directory: str, name: str) -> None:
    """The one link in a directory has this name."""
    if len(_link_names) >= NAMES_KEPT:
        _link_names.clear()
    _link_names[directory] = name


def numbered(directory: str, prefix: str) -> list[int]:
    """The numbers n of the entries <prefix><n>, in order. LIO takes other spellings of numbers (lun_0x10, and
    lun_00 beside lun_0); no tool makes them, and they are passed over."""
    found = []
    for name in names(directory):
        digits = name[len(prefix) :]
        if name.startswith(prefix) and digits.isdecimal() and str(int(digits)) == digits:
            found.append(int(digits))
    return sorted(found)
