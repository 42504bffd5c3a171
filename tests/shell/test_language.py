"""A line says what its words say: quoting, keys, paths, comments, and errors that point at their place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isadmin.shell import language
from isadmin.shell.language import Command, LanguageError, parse, parse_words

VALUES = st.text(st.characters(exclude_characters="\0\n", codec="utf-8"))
KEYS = st.from_regex(r"[A-Za-z0-9_-]+", fullmatch=True)

READ_AS = {
    "": Command(),
    "   \t ": Command(),
    "# all of it": Command(),
    "ls": Command(name="ls"),
    "ls / 1": Command(name="ls", arguments=("/", "1")),
    "/iscsi": Command(path="/iscsi"),
    "/": Command(path="/"),
    "..": Command(path=".."),
    "../x ls": Command(path="../x", name="ls"),
    "* ls": Command(path="*", name="ls"),
    "@last get auth": Command(path="@last", name="get", arguments=("auth",)),
    "/iscsi create iqn.2003-01.org.test:t1  # the first": Command(
        "/iscsi", "create", ("iqn.2003-01.org.test:t1",)
    ),
    "create name=disk1 dev=/dev/sdb": Command("", "create", (), {"name": "disk1", "dev": "/dev/sdb"}),
    "set auth password=ab^cd": Command("", "set", ("auth",), {"password": "ab^cd"}),
    "set auth password=a#b": Command("", "set", ("auth",), {"password": "a#b"}),
    "set auth password=": Command("", "set", ("auth",), {"password": ""}),
    "set auth password='' userid=x": Command("", "set", ("auth",), {"password": "", "userid": "x"}),
    'create "f 7" /run/d/f7.img': Command("", "create", ("f 7", "/run/d/f7.img")),
    "create a'b c'd": Command("", "create", ("ab cd",)),
    r'x "a\"b\\c\d"': Command("", "x", (r'a"b\c\d',)),
    r"x 'a\"b' c\d": Command("", "x", (r"a\"b", r"c\d")),
    "x a=b=c": Command("", "x", (), {"a": "b=c"}),
    "x 'a=b'": Command("", "x", ("a=b",)),
    "x /tmp/a=b": Command("", "x", ("/tmp/a=b",)),
    "x ''": Command("", "x", ("",)),
    "x $(y) ~ * ;": Command("", "x", ("$(y)", "~", "*", ";")),
    "create name = q1 size= 1M wwn ='a b'": Command(
        "", "create", (), {"name": "q1", "size": "1M", "wwn": "a b"}
    ),
    "set attribute a = 1": Command("", "set", ("attribute",), {"a": "1"}),
    "set auth userid= password = x": Command("", "set", ("auth",), {"userid": "", "password": "x"}),
    "set auth password= --dry-run": Command("", "set", ("auth", "--dry-run"), {"password": ""}),
    "x a = # b": Command("", "x", (), {"a": ""}),
    "x a='' b": Command("", "x", ("b",), {"a": ""}),
    "x a '=' b": Command("", "x", ("a", "=", "b")),
    "x /a = b": Command("", "x", ("/a", "=", "b")),
    "/iscsi/x/portals/[::1]:3260 delete": Command("/iscsi/x/portals/[::1]:3260", "delete"),
}


@pytest.mark.parametrize("line", READ_AS)
def test_a_line_reads_as(line: str) -> None:
    assert parse(line) == READ_AS[line]


@pytest.mark.parametrize(
    ("line", "position"),
    [
        ('create "f 7', 7),
        ("create a'b", 8),
        (r'x "a\"', 2),
        ("x a\u00a0b", 3),
        ("x \u3000", 2),
        ("x 'a\nb'", 4),
        ("x\0", 1),
        ("/iscsi name=x", 7),
        ("name=x", 0),
        ("''", 0),
        ("x a=1 b=2 a=3", 10),
    ],
)
def test_an_unreadable_line_is_an_error_at_its_place(line: str, position: int) -> None:
    with pytest.raises(LanguageError) as caught:
        parse(line)
    assert caught.value.position == position
    assert caught.value.status == 2
    assert f"column {position + 1}" in caught.value.line()
    assert "\n" not in caught.value.line()


def test_the_caret_points_at_the_place() -> None:
    with pytest.raises(LanguageError) as caught:
        parse("create\t'f 7")
    assert caught.value.caret() == "create 'f 7\n       ^"


def test_the_caret_shows_no_secret() -> None:
    with pytest.raises(LanguageError) as caught:
        parse("set auth password='hidden")
    assert caught.value.caret() == ""
    assert "hidden" not in caught.value.line()


@given(VALUES)
def test_any_value_quoted_arrives_whole(value: str) -> None:
    assert parse(f"x {language.quote(value)} after") == Command("", "x", (value, "after"))


@given(KEYS, VALUES)
def test_any_keyword_value_quoted_arrives_whole(key: str, value: str) -> None:
    assert parse(f"x {key}={language.quote(value)}") == Command("", "x", (), {key: value})


@given(KEYS, VALUES)
def test_an_argument_of_a_program_arrives_whole(key: str, value: str) -> None:
    assert parse_words(["x", f"{key}={value}"]).keywords == {key: value}
    if language.KEY.match(value) is None:
        assert parse_words(["x", value]).arguments == (value,)


@given(st.text())
def test_every_character_is_in_a_word_or_a_blank_or_the_comment_or_the_line_is_refused(line: str) -> None:
    try:
        found = language.scan(line)
    except LanguageError as error:
        refused = error.position
        assert 0 <= refused < len(line)
        return
    covered = [False] * len(line)
    for word in found.words:
        covered[word.start : word.end] = [True] * (word.end - word.start)
    until = len(line) if found.comment is None else found.comment
    assert all(covered[at] or line[at] in " \t" for at in range(until))


def test_a_sole_argument_with_blanks_is_a_line() -> None:
    assert parse_words(["/iscsi create 'a b'"]) == Command("/iscsi", "create", ("a b",))
    assert parse_words(["create", "a b"]) == Command("", "create", ("a b",))


def test_an_argument_with_a_newline_is_refused() -> None:
    with pytest.raises(LanguageError):
        parse_words(["create", "a\nb"])


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("ls; pwd", ["ls", " pwd"]),
        ("ls ; pwd ;", ["ls ", " pwd "]),
        ("set auth password=a;b", ["set auth password=a;b"]),
        ("x 'a; b'; y", ["x 'a; b'", " y"]),
        ("ls\n\npwd", ["ls", "pwd"]),
        ("ls # a; b", ["ls # a; b"]),
        ("x 'a;", ["x 'a;"]),
    ],
)
def test_a_text_splits_into_lines(text: str, lines: list[str]) -> None:
    assert language.split_commands(text) == lines


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("set auth userid=u password=abc", "set auth userid=u password=********"),
        ("set auth mutual_password='a b' userid=u", "set auth mutual_password=******** userid=u"),
        ("set auth password=abc'", "set auth password=********"),
        ("set auth 'password=abc' x", "set auth 'password=******** x"),
        ("set auth password = abc userid = u", "set auth password =******** userid = u"),
        ("set auth password= abc", "set auth password=********"),
        ("set auth password =abc'", "set auth password =********"),
        ("set auth password_file = /etc/chap", "set auth password_file = /etc/chap"),
        ("set auth password=a\u00a0b", "set auth password=********"),
        ("ls # password=abc", "ls"),
        ("set auth password_file=/etc/chap", "set auth password_file=/etc/chap"),
        ("/iscsi/iqn.2003-01.x:secret ls", "/iscsi/iqn.2003-01.x:secret ls"),
    ],
)
def test_a_line_is_shown_without_its_secrets(line: str, shown: str) -> None:
    assert language.masked(line) == shown


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n\0*")), KEYS)
def test_no_masked_line_shows_the_secret(before: str, secret: str) -> None:
    secret = f"S3cr3t{secret}"
    for equals in ("=", " =", "= ", " = "):
        assert secret not in language.masked(f"{before} password{equals}{secret} x")


@pytest.mark.parametrize("piece", ["x", "secret", "password_file", "secret_file=", "x="])
def test_huge_lines_are_masked_in_one_pass(piece: str) -> None:
    """A search that reads a name again from each of its letters would take minutes."""
    line = f"create name={piece * 20_000} password_file=f password=hidden"
    assert "hidden" not in language.masked(line)
    assert language.masked(line.removesuffix(" password=hidden")).endswith("password_file=f")
    assert language.holds_secret(line)
