"""Command numbering, and the bookkeeping of write data."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isadmin.userspace.iscsi.errors import DataError, ProtocolError
from isadmin.userspace.iscsi.keys import Parameters
from isadmin.userspace.iscsi.session import Session, Transfer, serial_before

NONE = 0xFFFFFFFF


def session(cmd_sn: int = 1, window: int = 8) -> Session:
    return Session(
        initiator="iqn.i", alias="", target="iqn.t", tpgt=1, discovery=False, isid=bytes(6), tsih=1, sid=1,
        cmd_sn=cmd_sn, window=window, parameters=Parameters(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b", "before"),
    [
        (0, 1, True),
        (1, 0, False),
        (5, 5, False),
        (NONE, 0, True),
        (0, NONE, False),
        (0x7FFFFFFF, 0x80000000, True),
    ],
)
def test_serial_numbers(a: int, b: int, before: bool) -> None:
    assert serial_before(a, b) is before


def test_the_window() -> None:
    found = session(cmd_sn=NONE - 1, window=4)
    assert found.max_cmd_sn == 1
    assert [n for n in (NONE - 2, NONE - 1, NONE, 0, 1, 2) if found.in_window(n)] == [NONE - 1, NONE, 0, 1]


def test_outstanding_commands_hold_the_window_back() -> None:
    found = session(window=4)
    for _ in range(4):
        found.exp_cmd_sn += 1
        found.outstanding += 1
        assert found.advance_window() == 4
    assert not found.in_window(5)
    found.outstanding -= 3
    assert found.advance_window() == 7
    assert not found.in_window(5), "nobody knows of it yet"
    found.tell()
    assert found.in_window(5)


def test_the_window_never_goes_back() -> None:
    found = session(window=4)
    found.outstanding = 3
    assert found.advance_window() == 4


def test_a_window_held_back_promises_nothing_new_and_breaks_no_promise() -> None:
    found = session(window=4)
    found.exp_cmd_sn = 3
    assert found.advance_window(held_back=True) == 4
    assert found.advance_window() == 6


def test_what_comes_early_waits_for_its_turn() -> None:
    found = session(cmd_sn=1, window=8)
    for number in (4, 2, 3, 3):
        found.defer(number, f"pdu {number}")
    assert list(found.ready()) == []
    found.exp_cmd_sn = 2
    assert list(found.ready()) == ["pdu 2", "pdu 3", "pdu 4"]
    assert found.exp_cmd_sn == 5


def test_early_pdus_are_bounded() -> None:
    found = session(window=2)
    for number in range(2, 20):
        found.defer(number, number)
    assert len(found.early) == 2


def transfer(
    length: int = 4096,
    *,
    expected: int | None = None,
    immediate: int = 0,
    first_burst: int = 1024,
    more: bool = False,
) -> Transfer:
    return Transfer(
        length=length,
        expected=length if expected is None else expected,
        immediate=immediate,
        first_burst=first_burst,
        more_unsolicited=more,
    )


def test_everything_immediate() -> None:
    assert transfer(512, immediate=512).complete


def test_r2ts_ask_for_the_rest_in_bursts() -> None:
    found = transfer(4096, immediate=512)
    asked = []
    while (r2t := found.next_r2t(1500, 8)) is not None:
        found.sent_r2t(len(asked) + 1, *r2t)
        asked.append(r2t)
    assert asked == [(512, 1500), (2012, 1500), (3512, 584)]
    for tag, (offset, length) in enumerate(asked, 1):
        assert not found.complete
        found.accept(tag, offset, length, 0, True)
    assert found.complete


def test_no_more_r2ts_than_agreed() -> None:
    found = transfer(4096)
    found.sent_r2t(1, *(found.next_r2t(1024, 1) or (0, 0)))
    assert found.next_r2t(1024, 1) is None
    found.accept(1, 0, 512, 0, False)
    assert found.next_r2t(1024, 1) is None
    found.accept(1, 512, 512, 1, True)
    assert found.next_r2t(1024, 1) == (1024, 1024)


def test_unsolicited_data_comes_before_r2ts() -> None:
    found = transfer(4096, immediate=256, more=True)
    assert found.next_r2t(4096, 1) is None
    found.accept(NONE, 256, 256, 0, False)
    found.accept(NONE, 512, 512, 1, True)
    assert found.next_r2t(4096, 1) == (1024, 3072)


def test_unsolicited_data_beyond_what_is_wanted_is_swallowed() -> None:
    found = transfer(512, expected=4096, immediate=256, more=True)
    found.accept(NONE, 256, 768, 0, True)
    assert found.complete
    assert found.received == 512


@pytest.mark.parametrize(
    ("immediate", "more"),
    [(1025, False), (1024, True)],
    ids=["more than FirstBurstLength", "nothing can follow"],
)
def test_commands_that_contradict_themselves(immediate: int, more: bool) -> None:
    with pytest.raises(ProtocolError):
        transfer(4096, immediate=immediate, more=more)


@pytest.mark.parametrize(
    ("tag", "offset", "length", "data_sn", "final"),
    [
        (NONE, 0, 512, 0, True),
        (2, 0, 512, 0, True),
        (1, 512, 512, 0, False),
        (1, 0, 512, 1, False),
        (1, 0, 1025, 0, True),
        (1, 0, 512, 0, True),
        (1, 0, 1024, 0, False),
    ],
    ids=["unannounced", "no such tag", "out of order", "DataSN", "too much", "F too early", "no F"],
)
def test_data_that_was_not_asked_for(tag: int, offset: int, length: int, data_sn: int, final: bool) -> None:
    found = transfer(4096)
    found.sent_r2t(1, *(found.next_r2t(1024, 1) or (0, 0)))
    with pytest.raises(DataError):
        found.accept(tag, offset, length, data_sn, final)


@settings(deadline=None)
@given(st.data())
def test_any_way_of_sending_the_data_ends_complete(data: st.DataObject) -> None:

    def chunk(most: int) -> int:
        return data.draw(st.integers(min(500, most), most))

    length = data.draw(st.integers(1, 9000))
    first_burst = data.draw(st.integers(512, 4096))
    immediate = data.draw(st.integers(0, min(first_burst, length)))
    more = data.draw(st.booleans()) and immediate < min(first_burst, length)
    burst, outstanding = data.draw(st.integers(512, 8192)), data.draw(st.integers(1, 4))
    found = transfer(length, immediate=immediate, first_burst=first_burst, more=more)
    sent = immediate
    data_sn = 0
    while more:
        count = chunk(min(first_burst, length) - sent)
        more = sent + count < min(first_burst, length) and data.draw(st.booleans())
        found.accept(NONE, sent, count, data_sn, not more)
        sent += count
        data_sn += 1
    asked: list[tuple[int, int, int]] = []
    tag = 0
    while not found.complete:
        while (r2t := found.next_r2t(burst, outstanding)) is not None:
            tag += 1
            found.sent_r2t(tag, *r2t)
            asked.append((tag, *r2t))
        assert 0 < len(asked) <= outstanding
        ttt, offset, size = asked.pop(0)
        assert offset == sent
        at = number = 0
        while at < size:
            count = chunk(size - at)
            found.accept(ttt, offset + at, count, number, at + count == size)
            at += count
            number += 1
        sent += size
    assert sent == length == found.received
