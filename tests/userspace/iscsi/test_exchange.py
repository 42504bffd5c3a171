"""Text exchanges in full-feature phase: parts, tags, and what begins anew."""

from __future__ import annotations

import itertools

import pytest

from isadmin.userspace.iscsi.codes import RESERVED_TAG
from isadmin.userspace.iscsi.errors import ProtocolError
from isadmin.userspace.iscsi.exchange import Part, TextExchange
from isadmin.userspace.iscsi.pdu import TextRequest
from isadmin.userspace.iscsi.text import MAX_TEXT


def made() -> TextExchange:
    return TextExchange(itertools.count(1).__next__)


def ask(
    exchange: TextExchange,
    data: bytes = b"",
    *,
    final: bool = True,
    continued: bool = False,
    tag: int = RESERVED_TAG,
    most: int = 8192,
) -> Part:
    request = TextRequest(final, continued, 0, 1, tag, 1, 1, data=data)
    return exchange.receive(request, lambda key, value: f"{key}={value * 2}\0".encode(), most)


def test_one_request_and_one_answer() -> None:
    assert ask(made(), b"a=1\0b=2\0") == Part(True, False, RESERVED_TAG, b"a=11\0b=22\0")


def test_a_text_that_comes_in_parts() -> None:
    exchange = made()
    assert ask(exchange, b"a=", final=False, continued=True) == Part(False, False, 1, b"")
    assert ask(exchange, b"1", final=False, continued=True, tag=1) == Part(False, False, 2, b"")
    assert ask(exchange, b"\0", tag=2) == Part(True, False, RESERVED_TAG, b"a=11\0")


def test_an_answer_that_goes_in_parts() -> None:
    exchange = made()
    assert ask(exchange, b"a=123\0", most=4) == Part(False, True, 1, b"a=12")
    assert ask(exchange, tag=1, most=4) == Part(False, True, 2, b"3123")
    assert ask(exchange, tag=2, most=4) == Part(True, False, RESERVED_TAG, b"\0")


def test_an_answer_is_not_final_before_the_question_is() -> None:
    exchange = made()
    assert ask(exchange, b"a=1\0", final=False) == Part(False, False, 1, b"a=11\0")
    assert ask(exchange, b"b=1\0", final=False, tag=1) == Part(False, False, 2, b"b=11\0")
    assert ask(exchange, tag=2) == Part(True, False, RESERVED_TAG, b"")


def test_a_request_without_a_tag_begins_anew() -> None:
    exchange = made()
    ask(exchange, b"abandoned", final=False, continued=True)
    assert ask(exchange, b"a=1\0") == Part(True, False, RESERVED_TAG, b"a=11\0")
    ask(exchange, b"a=123\0", most=4)
    assert ask(exchange, b"b=1\0").data == b"b=11\0"


def test_data_in_place_of_asking_for_the_rest_gives_that_up() -> None:
    exchange = made()
    first = ask(exchange, b"a=123\0", most=4)
    assert ask(exchange, b"b=1\0", tag=first.tag) == Part(True, False, RESERVED_TAG, b"b=11\0")


def test_a_tag_that_names_nothing() -> None:
    exchange = made()
    with pytest.raises(ProtocolError):
        ask(exchange, b"a=1\0", tag=5)
    open_tag = ask(exchange, b"a", final=False, continued=True).tag
    ask(exchange, b"=1\0", tag=open_tag)
    with pytest.raises(ProtocolError):
        ask(exchange, tag=open_tag)


def test_a_text_without_end() -> None:
    exchange = made()
    tag = RESERVED_TAG
    for _ in range(MAX_TEXT // 8192):
        tag = ask(exchange, b"x" * 8192, final=False, continued=True, tag=tag).tag
    with pytest.raises(ProtocolError, match="without end"):
        ask(exchange, b"x", final=False, continued=True, tag=tag)
