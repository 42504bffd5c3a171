"""What commands would change, noted instead of done: the other half of `--dry-run`.

While a rehearsal runs, write.py and files.write ask here first: what they would make, delete or write is
noted in a flat configuration, and nothing reaches configfs. What a command reads back of it within the same
command - a new object's directory, a value just set - is answered from what was noted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from isadmin.config.changes import Set
from isadmin.config.model import (
    DEFAULT_GROUP,
    FabricModule,
    Flat,
    Key,
    Lun,
    MappedLun,
    NodeAcl,
    Object,
    StorageObject,
    Tpg,
    Value,
    parent_of,
)
from isadmin.lio import files, touched
from isadmin.lio.objects import Lio
from isadmin.lio.snapshot import CHAP_FILES

_GROUPS = {"attrib": "attributes", "param": "parameters"}
_FIELDS = {"alua_tg_pt_gp": "alua_tg_pt_gp_name", "cxgbit": "offload", "vpd_unit_serial": "wwn"}
"""Files whose value has another name in a configuration."""
_IGNORED = frozenset({"emulate_dpo", "emulate_fua_read"})
"""Attributes that LIO takes any value for, and keeps its own."""
_SWITCHES = frozenset({"enable", "write_protect", "iser", "offload"})
_CHAP_NAMES = {file: name for name, file in CHAP_FILES.items()}


class Rehearsal:
    """What would be: `wanted` begins as the configuration `now`. `others` are values that would be
    set though no configuration holds them."""

    def __init__(self, lio: Lio, now: Flat) -> None:
        self._lio = lio
        self.now = now
        self.wanted: Flat = dict(now)
        self.others: list[Set] = []

    def add(self, path: str, value: Object, **texts: str) -> None:
        """An object would be made; `texts` is what its files would say."""
        key = self._key(path)
        assert key is not None, path
        self.wanted[key] = value
        assert files.pretended is not None
        files.pretended.make(path, texts)

    def remove(self, path: str) -> None:
        """An object would be deleted, with what is below it and what refers to it."""
        key = self._key(path)
        if key is not None:
            for gone in _dependants(self.wanted, key):
                self.wanted.pop(gone, None)
            for other, value in self.wanted.items():
                if isinstance(value, Lun) and _is_member(value, key):
                    self.wanted[other] = replace(value, alua_tg_pt_gp_name=DEFAULT_GROUP)
        assert files.pretended is not None
        files.pretended.remove(path)

    def written(self, path: str, text: str) -> None:
        """A file would be written."""
        key = self._key(path)
        *_, directory, name = path.split("/")
        text = text.strip()
        if key is None:
            return
        one = self.wanted.get(key)
        if key[0] == "fabric_module":
            self._set_discovery(key, name, text)
        elif one is None:
            self.others.append(Set(key, "", name, None, text))
        elif directory in _GROUPS:
            self._set_in(key, one, _GROUPS[directory], name, _number(text) if directory == "attrib" else text)
        elif directory == "auth":
            chap = _with_secret(getattr(one, "chap", {}), _CHAP_NAMES.get(name, name), text)
            self.wanted[key] = replace(one, chap=chap)  # type: ignore[arg-type]
        elif key[0] == "port_group":
            self._set_in(key, one, "alua", name, _number(text))
        else:
            self._set_field(key, one, _FIELDS.get(name, name), text)

    def _set_discovery(self, key: Key, name: str, text: str) -> None:
        one = self.wanted.get(key)
        if name == "enforce_discovery_auth":
            if text == "0":
                self.wanted.pop(key, None)
            elif one is None:
                self.wanted[key] = FabricModule(str(key[1]), True, self._discovery_now(str(key[1])))
            return
        if not isinstance(one, FabricModule):
            # A configuration holds them only while they are enforced.
            chap_name = _CHAP_NAMES.get(name, name)
            old = self._discovery_now(str(key[1])).get(chap_name)
            self.others.append(Set(key, "discovery", chap_name, old, "" if text == "NULL" else text))
            return
        chap = _with_secret(one.discovery, _CHAP_NAMES.get(name, name), text)
        self.wanted[key] = replace(one, discovery=chap)

    def _discovery_now(self, fabric: str) -> dict[str, Value]:
        directory = f"{self._lio.path}/{fabric}/discovery_auth"
        found = {name: files.read_or(f"{directory}/{file}", "") for name, file in CHAP_FILES.items()}
        return {name: value for name, value in found.items() if value not in ("", "NULL")}

    def _set_in(self, key: Key, one: Object, group: str, name: str, value: Value) -> None:
        changed: dict[str, Any] = {name: value}
        before = getattr(one, group)
        if name in _IGNORED or (name == "pi_prot_verify" and before.get("pi_prot_type") in (0, "0")):
            return
        # What LIO sets along with it (kernel 6.1).
        if name == "authentication" and isinstance(one, Tpg):
            one = _with_method_moved(one, on=value == 1)
        elif name == "generate_node_acls" and value == 1 and "cache_dynamic_acls" in before:
            changed["cache_dynamic_acls"] = 1
        elif name == "cache_dynamic_acls" and before.get("generate_node_acls") in (1, "1"):
            changed = {name: 1}
        elif name == "pi_prot_type" and "pi_prot_verify" in before:
            changed["pi_prot_verify"] = int(value not in (0, "0"))
        elif name == "alua_access_state" and "alua_access_status" in before:
            changed["alua_access_status"] = 2
        self.wanted[key] = replace(one, **{group: {**before, **changed}})  # type: ignore[arg-type]

    def _set_field(self, key: Key, one: Object, name: str, text: str) -> None:
        if name == "control" and isinstance(one, StorageObject):
            if text.startswith("fd_dev_size="):
                self.wanted[key] = replace(one, size=int(text.partition("=")[2]))
            return
        if not hasattr(one, name):
            self.others.append(Set(key, "", name, None, text))
            return
        value: object = text != "0" if name in _SWITCHES else text
        if name == "tag" and isinstance(one, NodeAcl) and text in ("", "NULL"):
            value = None
        if isinstance(one, Tpg) and name == "enable" and value and not one.enable:
            one = _with_chap(one)
        self.wanted[key] = replace(one, **{name: value})  # type: ignore[arg-type]

    def _key(self, path: str) -> Key | None:
        return touched.key_of(path[len(self._lio.path) + 1 :])


def _dependants(flat: Flat, key: Key) -> set[Key]:
    """The key and those of all that cannot be without it."""
    gone = {key}
    before = 0
    while before < len(gone):
        before = len(gone)
        gone |= {other for other, value in flat.items() if _needs(other, value, gone)}
    return gone


def _needs(key: Key, value: Object, gone: set[Key]) -> bool:
    if isinstance(value, Lun) and ("storage_object", *value.storage_object.split("/")[2:]) in gone:
        return True
    if isinstance(value, MappedLun) and ("lun", *key[1:4], value.tpg_lun) in gone:
        return True
    return parent_of(key) in gone


def _is_member(lun: Lun, group: Key) -> bool:
    """Is a LUN in an ALUA group?"""
    if group[0] != "port_group" or lun.alua_tg_pt_gp_name != group[3]:
        return False
    return lun.storage_object == f"/backstores/{group[1]}/{group[2]}"


_running: Rehearsal | None = None


@contextmanager
def of(lio: Lio, now: Flat) -> Iterator[Rehearsal]:
    """Note what the block would change of a target whose configuration is `now`. Not for several threads."""
    global _running
    rehearsal = Rehearsal(lio, now)
    _running, files.pretended = rehearsal, files.Pretended(rehearsal.written)
    try:
        yield rehearsal
    finally:
        _running, files.pretended = None, None


def runs() -> bool:
    """Is nothing to be changed now?"""
    return _running is not None


def adds(path: str, value: Object, **texts: str) -> bool:
    """Note that an object would be made, if a rehearsal runs; else False: make it."""
    if _running is None:
        return False
    _running.add(path, value, **texts)
    return True


def removes(path: str) -> bool:
    """Note that an object would be deleted, if a rehearsal runs; else False: delete it."""
    if _running is None:
        return False
    _running.remove(path)
    return True


def become(result: Flat) -> bool:
    """Note that this would be the whole configuration, if a rehearsal runs; else False."""
    if _running is None:
        return False
    _running.wanted = dict(result)
    return True


def _with_method_moved(tpg: Tpg, *, on: bool) -> Tpg:
    """What becomes of AuthMethod when authentication is set: None is taken out, or put in."""
    if "AuthMethod" not in tpg.parameters:
        return tpg
    methods = str(tpg.parameters["AuthMethod"]).split(",")
    if on and methods != ["None"]:
        methods = [one for one in methods if one != "None"]
    elif not on and "None" not in methods:
        methods = [*methods, "None"]
    return replace(tpg, parameters={**tpg.parameters, "AuthMethod": ",".join(methods)})


def _with_chap(tpg: Tpg) -> Tpg:
    """What becomes of a portal group that demands authentication when it is enabled: only CHAP is left."""
    if tpg.attributes.get("authentication") != 1:
        return tpg
    moved = _with_method_moved(tpg, on=True)
    if moved.parameters.get("AuthMethod") != "None":
        return moved
    return replace(moved, parameters={**moved.parameters, "AuthMethod": "CHAP"})


def _with_secret(values: Any, name: str, text: str) -> dict[str, Value]:
    kept = {key: value for key, value in values.items() if key != name}
    return kept if text in ("", "NULL") else {**kept, name: text}


def _number(text: str) -> Value:
    return int(text) if text.lstrip("-").isdecimal() else text
