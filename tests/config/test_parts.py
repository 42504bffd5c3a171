"""Single values of objects: put in, laid over each other, and taken back where others changed some."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isadmin.config.model import Key, Tpg
from isadmin.config.parts import Known, Part, changed, over, put, rebased, values_of

KEY: Key = ("tpg", "iscsi", "iqn.2003-01.org.test:t", 1)


def part(**values: int | str | None) -> Part:
    """Attributes, and where the name begins with "chap_", a CHAP value; `enable` is the object's own."""
    found: dict[tuple[str, str], int | str | None] = {}
    for name, value in values.items():
        group, _, rest = name.partition("_")
        found[
            ("chap", rest) if group == "chap" else ("", name) if name == "enable" else ("attributes", name)
        ] = value
    return Part(found)


def test_an_object_is_its_values() -> None:
    one = Tpg(1, attributes={"a": 0}, chap={"userid": "u"}, enable=False)
    values = values_of(one)
    assert values["attributes", "a"] == 0
    assert values["chap", "userid"] == "u"
    assert values["", "enable"] is False
    assert put(Tpg(2), Part(values)) == one


def test_a_value_that_is_not_there_is_taken_out() -> None:
    one = Tpg(1, attributes={"a": 0}, chap={"userid": "u", "password": "p"}, enable=True)
    changed_one = put(one, part(a=1, chap_password=None, enable=False))
    assert changed_one == Tpg(1, attributes={"a": 1}, chap={"userid": "u"}, enable=False)


def test_the_second_look_counts() -> None:
    whole = Tpg(1, attributes={"a": 0, "b": 0})
    assert over(part(a=0, b=0), part(b=1, c=2)) == part(a=0, b=1, c=2)
    assert over(whole, part(b=1)) == Tpg(1, attributes={"a": 0, "b": 1})
    assert over(part(a=5), whole) == whole
    assert over(part(a=5), None) is None
    assert over(None, part(a=5)) == part(a=5)


def test_only_what_changed_is_kept() -> None:
    before: dict[Key, Known] = {KEY: part(a=0, b=0), (*KEY, 2): part(a=0), (*KEY, 3): None}
    after: dict[Key, Known] = {KEY: part(a=1, b=0), (*KEY, 2): part(a=0), (*KEY, 3): Tpg(3)}
    assert changed(before, after) == ({KEY: part(a=0), (*KEY, 3): None}, {KEY: part(a=1), (*KEY, 3): Tpg(3)})
    assert changed({KEY: part(a=0)}, {}) == ({KEY: part(a=0)}, {KEY: None})


def test_others_changes_are_kept_value_by_value() -> None:
    before = Tpg(1, attributes={"a": 0, "b": 0}, chap={"userid": "u"}, enable=False)
    left = Tpg(1, attributes={"a": 1, "b": 0}, chap={}, enable=True)
    now = Tpg(1, attributes={"a": 1, "b": 2}, chap={"password": "p"}, enable=True)
    kept = Tpg(1, attributes={"a": 0, "b": 2}, chap={"userid": "u", "password": "p"}, enable=False)
    assert rebased(before, left, now) == kept
    assert rebased(None, left, now) is None
    assert rebased(None, None, now) == now
    assert rebased(before, None, None) == before


def test_what_is_known_of_an_object_in_part_is_taken_back_in_it() -> None:
    now = Tpg(1, attributes={"a": 1, "b": 2})
    assert rebased(part(a=0), part(a=1), now) == Tpg(1, attributes={"a": 0, "b": 2})
    assert rebased(part(a=0), part(a=0), now) == now
    # One more value was set after the first, and of one nobody knows what it was left as.
    assert rebased(part(a=0), part(a=1), part(a=1, b=2)) == part(a=0, b=2)
    assert rebased(now, part(a=7), Tpg(1, attributes={"a": 7, "b": 9})) == now
    assert rebased(now, now, part(b=5)) == Tpg(1, attributes={"a": 1, "b": 5})


NAMES = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), min_size=3)


@given(NAMES, NAMES, NAMES, st.sets(st.sampled_from("abc")))
def test_a_part_is_taken_back_as_the_whole_would_be(
    before: dict[str, int], left: dict[str, int], now: dict[str, int], noted: set[str]
) -> None:
    """Values that are not noted are those that did not change."""
    left = {name: left[name] if name in noted else before[name] for name in before}
    whole = rebased(*(Tpg(1, attributes=values) for values in (before, left, now)))
    old, done = (part(**{name: values[name] for name in noted}) for values in (before, left))
    assert rebased(old, done, Tpg(1, attributes=now)) == whole
