"""Some values of an object instead of the whole: what a command that sets one value has to know of it. Pure.

A value is named by its group ("attributes", "parameters", "alua", "chap", "discovery") and its name there;
the object's own fields are in the group "". None is a value that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from isadmin.config.model import GROUPS, Key, Object

Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """Some values of an object that is there."""

    values: Mapping[Name, Any]


Known = Object | Part | None
"""What is known of an object: all of it, a part, or that it is not there."""


def values_of(one: Object | Part) -> dict[Name, Any]:
    """Every value that is known, by its name."""
    if isinstance(one, Part):
        return dict(one.values)
    found: dict[Name, Any] = {}
    for field in fields(one):
        value = getattr(one, field.name)
        if field.name in GROUPS:
            found |= {(field.name, name): inner for name, inner in value.items()}
        elif field.name != "unknown":
            found["", field.name] = value
    return found


def put(one: Object, part: Part) -> Object:
    """An object with these values in the place of its own."""
    changed: dict[str, Any] = {}
    for (group, name), value in part.values.items():
        if not group:
            changed[name] = value
            continue
        values = changed.setdefault(group, dict(getattr(one, group)))
        if value is None:
            values.pop(name, None)
        else:
            values[name] = value
    return replace(one, **changed)


def over(below: Known, above: Known) -> Known:
    """What is known of an object by two looks at it, the second of which counts where they differ."""
    if not isinstance(above, Part) or below is None:
        return above
    if isinstance(below, Part):
        return Part({**below.values, **above.values})
    return put(below, above)


def changed(before: Mapping[Key, Known], after: Mapping[Key, Known]) -> tuple[dict[Key, Known], ...]:
    """What is known of objects at two times, without the objects and single values that stayed the same."""
    was: dict[Key, Known] = {}
    became: dict[Key, Known] = {}
    for key, old in before.items():
        new = after.get(key)
        if old == new:
            continue
        if isinstance(old, Part) and isinstance(new, Part):
            names = [name for name, value in old.values.items() if new.values.get(name) != value]
            old, new = (Part({name: one.values.get(name) for name in names}) for one in (old, new))
        was[key], became[key] = old, new
    return was, became


def rebased(before: Known, left: Known, now: Known) -> Known:
    """What an object would be now if it had not been changed from `before` to `left`: each value that was is
    as before, the others are as they are now. One that came or went altogether is as before."""
    if before is None or left is None or now is None:
        return now if left == before else before
    old, done, there = values_of(before), values_of(left), values_of(now)
    values = {}
    for name in dict.fromkeys([*old, *there]):
        if name not in old and isinstance(before, Part):
            values[name] = there[name]
            continue
        unknown = (name not in there and isinstance(now, Part)) or (
            name not in done and isinstance(left, Part)
        )
        changed = unknown or done.get(name) != old.get(name)
        values[name] = (old if changed else there).get(name)
    whole = next((one for one in (before, now) if not isinstance(one, Part)), None)
    return Part(values) if whole is None else put(whole, Part(values))
