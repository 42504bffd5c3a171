"""Text that becomes a document: JSON, and YAML 1.2's core schema. Pure.

A key that stands twice in one object is no quirk to be read over: what one of them says would be lost.
Such an object is a `Twice`, and given_twice() names its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from isadmin.errors import RefusedFileError

REMEDY = "mend it, or take another file, for example one from the backup directory"


class Twice(dict[Any, Any]):
    """An object of a file in which keys stand more than once: `keys_given_twice`."""

    keys_given_twice: tuple[str, ...] = ()


def given_twice(found: object) -> Iterator[str]:
    """The places of keys that stand twice in one object."""
    seen: set[int] = set()
    rest: list[tuple[str, object]] = [("", found)]
    while rest:
        place, one = rest.pop()
        # In YAML, one object can stand at many places.
        if not isinstance(one, dict | list) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, Twice):
            yield from (f"{_below(place, key)} is given twice" for key in one.keys_given_twice)
        if isinstance(one, dict):
            rest += reversed([(_below(place, key), inner) for key, inner in one.items()])
        else:
            rest += reversed([(f"{place}[{at}]", inner) for at, inner in enumerate(one)])


def _below(place: str, key: object) -> str:
    return f"{place}.{key}" if place else str(key)


def _of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _twice(found, [key for key, _ in pairs])


def _twice(found: dict[Any, Any], keys: list[str]) -> Twice:
    twice = Twice(found)
    twice.keys_given_twice = tuple(dict.fromkeys(key for key in keys if keys.count(key) > 1))
    return twice


def of_json(content: bytes, source: str) -> object:
    """The document that JSON text is of. Raises RefusedFileError."""
    try:
        return json.loads(content, object_pairs_hook=_of_pairs)
    except UnicodeDecodeError as error:
        raise RefusedFileError(f"{source}: not UTF-8 text at byte {error.start}", REMEDY) from error
    except json.JSONDecodeError as error:
        what = "cut off" if error.pos >= len(content.rstrip()) else "not JSON"
        place = f"{source}:{error.lineno}:{error.colno}"
        raise RefusedFileError(f"{place}: {what}: {error.msg}", REMEDY) from error
    except (RecursionError, ValueError) as error:
        raise RefusedFileError(f"{source}: nested too deeply, or a number is too long", REMEDY) from error


def of_yaml(content: bytes, source: str) -> object:
    """The document that YAML text is of. Raises RefusedFileError, which repeats nothing of a value."""
    try:
        import yaml
    except ImportError as error:
        raise RefusedFileError(
            f"{source}: YAML cannot be read here",
            "install PyYAML (pip install 'isadmin[yaml]'), or use JSON",
        ) from error
    try:
        return yaml.load(content, _loader(yaml))  # noqa: S506 - it is a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        problem = _without_values(str(getattr(error, "problem", None) or "unreadable text"))
        raise RefusedFileError(f"{place}: not YAML: {problem}", REMEDY) from None
    except (RecursionError, ValueError):
        what = "nested too deeply, a number is too long, or a value is not what its tag says"
        raise RefusedFileError(f"{source}: not YAML: {what}", REMEDY) from None


def _without_values(problem: str) -> str:
    """What PyYAML found, without names, tags and values that it quotes; punctuation and <kinds of token>
    may stay."""

    def quoted(match: re.Match[str]) -> str:
        inner = match.group(0)[1:-1]
        return match.group(0) if len(inner) < 2 or re.fullmatch(r"<[a-z ]+>", inner) else "..."

    return re.sub(r"'[^']*'|\"[^\"]*\"", quoted, problem)


_CORE = (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("merge", r"<<", "<"),
)
"""YAML 1.2 section 10.3.2: what plain text is of another type than text, and its first letters. Yes and No,
1:30, dates and 1_000 are text; 015 is fifteen. The merge key is of YAML 1.1, and in wide use."""


def _loader(yaml: Any) -> Any:
    """PyYAML's safe loader, which knows YAML 1.1, with the types of 1.2."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as PyYAML has it

        def construct_number(self, node: Any) -> int:
            text = self.construct_scalar(node)
            sign, digits = (text[0], text[1:]) if text[0] in "-+" else ("", text)
            base = {"0o": 8, "0x": 16}.get(digits[:2], 10)
            return int(sign + (digits if base == 10 else digits[2:]), base)

        def construct_text(self, node: Any) -> str:
            # JSON escapes what is beyond 16 bits as two halves (RFC 8259 section 7), and JSON is YAML.
            text = str(self.construct_scalar(node))
            if text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text):
                return text
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")

        def construct_object_of(self, node: Any) -> Iterator[dict[Any, Any]]:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            again = len(keys) > len(set(keys))
            data: dict[Any, Any] = _twice({}, keys) if again else {}
            yield data
            data.update(self.construct_mapping(node))

    for kind, pattern, first in _CORE:
        # Nothing at all is null, too.
        letters = [*first, ""] if kind == "null" else list(first)
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{pattern})\\Z"), letters)
    Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_number)
    Loader.add_constructor("tag:yaml.org,2002:str", Loader.construct_text)
    Loader.add_constructor("tag:yaml.org,2002:map", Loader.construct_object_of)
    return Loader
