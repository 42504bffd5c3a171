"""A line the user typed -> the command it says. Pure.

    line      = [path] [command] word... [# comment]
    path      = the first word, when it holds a "/", or is ".", "..", "*" or "@bookmark"
    word      = characters and quoted pieces, side by side
    keyword   = a word that begins with an unquoted NAME=; the rest is its value

Blanks (space, tab) part words, but for those around the = of a keyword: NAME = VALUE is one word, and so are
NAME= VALUE and NAME =VALUE, as in targetcli. An option, or another NAME=, is no value of an empty one.
'...' takes everything as it is. "..." does too, but for a backslash
before `"` or `\\`, which stands for that character alone. Outside double quotes a backslash is a
backslash. Nothing expands. "#" begins a comment only where a word could begin. Whatever cannot be read is
an error that points at its place: nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from isadmin.errors import UsageError
from isadmin.light import field, pattern, record

BLANKS = " \t"
NAME = pattern(r"[A-Za-z0-9_-]+")
SPACED_KEY = pattern(r"[A-Za-z0-9_-]+[ \t]+=")
KEY = pattern(r"[A-Za-z0-9_-]+(?==)")
PLAIN = pattern(r"[^\s\"'#][^\s\"']*")
ORDINARY = pattern(r"[^\s\"'\0]+")
"""What stands for itself in a word."""
MASK = "********"
DRY_RUN = "--dry-run"
"""The option of every command that changes the target: show the changes, make none."""
SECRET = pattern(r"(?i)(?<![a-z0-9_-])(?=[a-z0-9_-]*?(?:password|secret)(?!_file[ \t]*=))[a-z0-9_-]++[ \t]*=")
"""NAME= of a value that must not be shown or kept. Every NAME is read once: lines may be huge."""


class LanguageError(UsageError):
    """A line that cannot be read. `position` is the 0-based column in `source` that the caret points at."""

    def __init__(self, what: str, source: str, position: int, remedy: str = "") -> None:
        super().__init__(f"{what} at column {position + 1}", remedy)
        self.source = source
        self.position = position

    def caret(self) -> str:
        """Two lines for a terminal: the line, and a caret under the place; "" where a secret would show."""
        shown = self.source.replace("\t", " ")
        if holds_secret(shown):
            return ""
        return f"{shown}\n{' ' * self.position}^"


@record(frozen=True, slots=True)
class Word:
    """One word: its value without quotes, its key if it is NAME=value, its place in the line, and the column
    in which its value begins."""

    value: str
    key: str | None = None
    start: int = 0
    end: int = 0
    value_start: int = 0

    @property
    def text(self) -> str:
        """The whole word without its quotes."""
        return self.value if self.key is None else f"{self.key}={self.value}"


@record(frozen=True, slots=True)
class Command:
    """What a line says: in `path` ("" for here) run `name` ("" for none) with these arguments."""

    path: str = ""
    name: str = ""
    arguments: tuple[str, ...] = ()
    keywords: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.path or self.name)


@record(frozen=True, slots=True)
class Scan:
    """The words of a line that may be unfinished; where its comment begins, and the quote still open."""

    words: tuple[Word, ...]
    comment: int | None = None
    unclosed: int | None = None


def scan(line: str) -> Scan:
    """Split a line into words, tolerating a quote still open at its end.

    Raises LanguageError for a character that cannot stand where it is.
    """
    words: list[Word] = []
    at = 0
    end = len(line)
    while True:
        while at < end and line[at] in BLANKS:
            at += 1
        if at == end:
            return Scan(tuple(words))
        if line[at] == "#":
            return Scan(tuple(words), comment=at)
        word, unclosed = _scan_word(line, at)
        at = word.end
        if words and (joined := _joined(words[-1], word, line)) is not None:
            words.pop()
            word = joined
        words.append(word)
        if unclosed is not None:
            return Scan(tuple(words), unclosed=unclosed)


def _joined(before: Word, word: Word, line: str) -> Word | None:
    """The keyword that two words are, with blanks around its =; None if they are two."""
    if word.key is not None:
        return None
    if before.key is None:
        if line[word.start] == "=" and NAME.fullmatch(line, before.start, before.end):
            return Word(word.value[1:], before.value, before.start, word.end, word.start + 1)
        return None
    begins_another = line.startswith("--", word.start) or SPACED_KEY.match(line, word.start)
    if before.value_start < before.end or begins_another:
        return None
    return Word(word.value, before.key, before.start, word.end, word.start)


def _scan_word(line: str, start: int) -> tuple[Word, int | None]:
    key = KEY.match(line, start)
    at = value_start = start if key is None else key.end() + 1
    pieces: list[str] = []
    while at < len(line) and line[at] not in BLANKS:
        ordinary = ORDINARY.match(line, at)
        if ordinary is not None:
            pieces.append(ordinary[0])
            at = ordinary.end()
            continue
        if line[at] not in "\"'":
            _refuse_odd(line, at)
        piece, after = _quoted_piece(line, at)
        pieces.append(piece)
        if after is None:
            return Word("".join(pieces), key and key[0], start, len(line), value_start), at
        at = after
    return Word("".join(pieces), key and key[0], start, at, value_start), None


def _quoted_piece(line: str, start: int) -> tuple[str, int | None]:
    """The text of the quoted piece that opens at `start`, and the column after it (None: never closed)."""
    quote = line[start]
    text: list[str] = []
    at = start + 1
    while at < len(line):
        character = line[at]
        if character == quote:
            return "".join(text), at + 1
        if quote == '"' and character == "\\" and line[at + 1 : at + 2] in ('"', "\\"):
            at += 1
            character = line[at]
        elif character in "\n\0":
            _refuse_odd(line, at)
        text.append(character)
        at += 1
    return "".join(text), None


def _refuse_odd(line: str, at: int) -> None:
    character = line[at]
    if character in "\n\0":
        raise LanguageError(f"A line cannot hold U+{ord(character):04X}", line, at)
    if character.isspace():
        what = f"U+{ord(character):04X} looks like a space and is none"
        raise LanguageError(what, line, at, "type a space, or quote the word")


def parse(line: str) -> Command:
    """The command a line says; an empty Command for a blank or comment line.

    Raises LanguageError for an open quote, a character that cannot stand where it is, two values for one key.
    """
    found = scan(line)
    if found.unclosed is not None:
        quote = line[found.unclosed]
        raise LanguageError(f"The quote {quote} is never closed", line, found.unclosed, "close it")
    return _command(found.words, line)


def parse_words(words: Sequence[str]) -> Command:
    """The command that a program's arguments say, each of them one word exactly as it is.

    A sole argument with blanks is a line. Raises LanguageError as parse does.
    """
    if len(words) == 1 and any(blank in words[0] for blank in BLANKS):
        return parse(words[0])
    made = []
    for text in words:
        for at, character in enumerate(text):
            if character in "\n\0":
                raise LanguageError(f"An argument cannot hold U+{ord(character):04X}", text, at)
        key = KEY.match(text) if "=" in text else None
        made.append(Word(text) if key is None else Word(text[key.end() + 1 :], key[0]))
    return _command(made, " ".join(words))


def is_path(word: Word) -> bool:
    """Does this word, standing first, name a place rather than a command?"""
    if word.key is not None:
        return False
    return "/" in word.value or word.value in (".", "..", "*") or word.value.startswith("@")


def _command(words: Iterable[Word], line: str) -> Command:
    rest = list(words)
    path = rest.pop(0).value if rest and is_path(rest[0]) else ""
    name = ""
    if rest:
        first = rest.pop(0)
        if first.key is not None or not first.value:
            raise LanguageError("A command is expected", line, first.start)
        name = first.value
    keywords: dict[str, str] = {}
    for word in rest:
        if word.key is None:
            continue
        if word.key in keywords:
            raise LanguageError(f"{word.key} is given twice", line, word.start)
        keywords[word.key] = word.value
    return Command(path, name, tuple(w.value for w in rest if w.key is None), keywords)


def split_commands(text: str) -> list[str]:
    """The lines of a text that holds several: parted by newlines, and by a ";" that ends or is a word."""
    lines: list[str] = []
    for line in text.split("\n"):
        start = 0
        while (at := _separator(line, start)) is not None:
            lines.append(line[start:at])
            start = at + 1
        lines.append(line[start:])
    return [line for line in lines if line.strip(BLANKS)]


def _separator(line: str, start: int) -> int | None:
    found = scan(line[start:])
    for word in found.words:
        last = start + word.end - 1
        if line[last] == ";" and (found.unclosed is None or word is not found.words[-1]):
            return last
    return None


def quote(value: str) -> str:
    """A spelling of `value` that reads as exactly one word with that value and no key.

    The value itself where that is possible. `value` holds no NUL and no newline.
    """
    if PLAIN.fullmatch(value) and KEY.match(value) is None and not value.startswith("="):
        return value
    if "'" not in value:
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def holds_secret(line: str) -> bool:
    """Might this line give a secret away? Errs on the safe side: history and logs leave such lines out."""
    return SECRET.search(line) is not None


def masked(line: str) -> str:
    """The line as it may be shown: from each key that names a secret on, its value replaced."""
    secret = SECRET.search(line)
    if secret is None:
        return line
    try:
        found = scan(line)
    except LanguageError:
        return line[: secret.end()] + MASK
    shown, at = "", 0
    for word in found.words:
        name = SECRET.search(line, word.start, word.end)
        if name is not None:
            shown += line[at : name.end()] + MASK
            at = word.end
    if found.comment is not None and SECRET.search(line, found.comment):
        return shown + line[at : found.comment].rstrip(BLANKS)
    return shown + line[at:]
