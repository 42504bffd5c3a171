"""What one command needs of the standard library, without what importing the library itself would bring.

`isadmin ls` of ten disks takes no longer than starting Python and reading them, as long as these stay out:
dataclasses (which imports inspect, ast, tokenize), typing, pathlib (urllib), re (enum). So the modules that
every command imports take from here

    record, field      dataclasses.dataclass and field, for small classes with few instances; and replace
    Path               pathlib.Path, imported when the first one is made
    pattern            re.compile, when the pattern is first used

and import what only type checkers need under TYPE_CHECKING. To a type checker these are the real ones.
"""

from __future__ import annotations

__all__ = ["Path", "field", "pattern", "record", "replace"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import dataclass as record
    from dataclasses import field, replace
    from pathlib import Path
    from re import compile as pattern
else:
    _MISSING = object()

    def record(*, frozen=False, slots=True):
        """A class with the annotated fields, as `dataclass(frozen=..., slots=True)` makes it: initialized by
        position and name, compared, hashed (if frozen) and shown by its fields. No inheritance.

        dataclasses.replace, fields and asdict work on it: they pay for the import.
        """
        assert slots

        def make(plain):
            names = tuple(plain.__annotations__)
            body = {
                key: value for key, value in vars(plain).items() if key not in ("__dict__", "__weakref__")
            }
            defaults = {name: body.pop(name) for name in names if name in body}
            body |= {
                "__slots__": names,
                "__match_args__": names,
                "__init__": _initializer(plain.__name__, names, defaults),
                "__eq__": _equal,
                "__hash__": _hash if frozen else None,
                "__repr__": _shown,
                "__dataclass_fields__": _Fields(defaults),
            }
            if frozen:
                body["__setattr__"] = body["__delattr__"] = _frozen
                body["__getstate__"], body["__setstate__"] = _values, _restore
            return type(plain.__name__, (), body)

        return make

    def replace(record, **changes):
        """A copy in which some fields are others."""
        return type(record)(**{name: getattr(record, name) for name in record.__slots__} | changes)

    def _initializer(owner, names, defaults):
        count = len(names)
        places = dict.fromkeys(names)

        def __init__(self, *values, **named):  # noqa: N807 - becomes the method
            if len(values) != count or named:
                if len(values) > count or not named.keys() <= places.keys() - names[: len(values)]:
                    raise TypeError(f"{owner}() takes each of {', '.join(names)} once")
                missing = [
                    name for name in names[len(values) :] if name not in named and name not in defaults
                ]
                if missing:
                    raise TypeError(f"{owner}() misses {', '.join(missing)}")
                values += tuple(
                    named[name] if name in named else _default(defaults[name])
                    for name in names[len(values) :]
                )
            for name, value in zip(names, values, strict=True):
                _put(self, name, value)

        return __init__

    _put = object.__setattr__

    class field:  # noqa: N801 - a function in dataclasses
        """What makes a field's default."""

        def __init__(self, *, default_factory):
            self.make = default_factory

    def _default(given):
        return given.make() if type(given) is field else given

    def _values(self):
        return [getattr(self, name) for name in self.__slots__]

    def _restore(self, values):
        for name, value in zip(self.__slots__, values, strict=True):
            _put(self, name, value)

    def _equal(self, other):
        return _values(self) == _values(other) if type(other) is type(self) else NotImplemented

    def _hash(self):
        return hash(tuple(_values(self)))

    def _shown(self):
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({', '.join(shown)})"

    def _frozen(self, name, value=None):
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed")

    class _Fields:
        """What dataclasses looks for in a class, made when it does."""

        def __init__(self, defaults):
            self._defaults = defaults
            self._made = None

        def __get__(self, instance, owner):
            if self._made is None:
                import dataclasses

                fields = []
                for name, kind in owner.__annotations__.items():
                    given = self._defaults.get(name, dataclasses.MISSING)
                    if type(given) is field:
                        fields.append((name, kind, dataclasses.field(default_factory=given.make)))
                    else:
                        fields.append((name, kind, dataclasses.field(default=given)))
                self._made = dataclasses.make_dataclass(owner.__name__, fields).__dataclass_fields__
            return self._made

    def Path(*parts):  # noqa: N802 - pathlib's name
        """A pathlib.Path."""
        global Path
        from pathlib import Path

        return Path(*parts)

    class pattern:  # noqa: N801 - a function in re
        """A regular expression, compiled when it is first used."""

        def __init__(self, text, flags=0):
            self._source = (text, flags)

        def __getattr__(self, name):
            import re

            compiled = re.compile(*self._source)
            for method in ("match", "fullmatch", "search", "sub", "split", "finditer", "findall"):
                setattr(self, method, getattr(compiled, method))
            return getattr(compiled, name)
