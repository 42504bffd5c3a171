"""acls: which initiators may log in to a portal group, and what they see.

ACLs with the same tag are shown as one node and set together; the first one is read.
"""

from __future__ import annotations

from contextlib import ExitStack

from isadmin.errors import IsadminError, UsageError
from isadmin.lio import files
from isadmin.lio.explain import attempting
from isadmin.lio.objects import Lun, MappedLun, NodeAcl, Tpg
from isadmin.shell.language import Command
from isadmin.shell.node import Node, Summary
from isadmin.shell.nodes import auth
from isadmin.shell.nodes.base import LioNode, ObjectNode
from isadmin.shell.nodes.exporting import (
    exportable,
    exported_as,
    storage_object_at,
)


class Acls(LioNode):
    """acls."""

    def __init__(self, parent: Node, tpg: Tpg) -> None:
        super().__init__("acls", parent)
        self.tpg = tpg

    def make_children(self) -> None:
        groups: dict[str, list[NodeAcl]] = {}
        for acl in self.tpg.acls():
            groups.setdefault(acl.tag() or acl.wwn, []).append(acl)
        for name, members in groups.items():
            AclNode(self, name, members)

    def find_child(self, name: str) -> Node | None:
        acl = NodeAcl(self.tpg, name)
        return AclNode(self, name, [acl]) if "/" not in name and acl.exists() and not acl.tag() else None

    def summary(self) -> Summary:
        return f"ACLs: {len(self.children)}", None

    def ui_command_create(self, wwn: str, add_mapped_luns: str | None = None) -> Node | None:
        """
        Lets an initiator in.

        PARAMETERS
        ==========

        wwn
        ---
        The initiator's name, of a type that the fabric has (see `info` there).

        add_mapped_luns
        ---------------
        If true, the initiator sees every LUN of the portal group, under its own number. If
        omitted, the preference auto_add_mapped_luns tells.

        SEE ALSO
        ========
        delete
        """
        mapping = self.flag(add_mapped_luns, self.shell.preferences.flag("auto_add_mapped_luns"))
        from isadmin.lio import write

        with ExitStack() as undo:
            acl = write.create_acl(self.tpg, wwn)
            undo.callback(write.delete_acl, acl)
            luns = self.tpg.luns() if mapping else []
            mapped = [write.create_mapped_lun(acl, lun.number, lun) for lun in luns]
            undo.pop_all()
        self.say(f"Created Node ACL for {acl.wwn}")
        for one in mapped:
            self.say(f"Created mapped LUN {one.number}.")
        return self.new_node(AclNode(self, acl.wwn, [acl]))

    def takes_along(self, command: Command) -> list[str]:
        from isadmin.shell import consequences

        wwn = consequences.argument(command, "wwn") if command.name == "delete" else None
        if not wwn:
            return []
        from isadmin.lio import write

        acl = NodeAcl(self.tpg, write.normalized_wwn(self.tpg.fabric, wwn))
        return consequences.of_acl(acl) if acl.exists() else []

    def ui_command_delete(self, wwn: str) -> None:
        """
        Deletes an initiator's ACL and its mapped LUNs. Who types this at a terminal is told of a
        session that ends, and asked, without the option -y.

        SEE ALSO
        ========
        create
        """
        from isadmin.lio import write

        acl = NodeAcl(self.tpg, write.normalized_wwn(self.tpg.fabric, wwn))
        if not acl.exists():
            raise IsadminError(f"No node ACL for {acl.wwn} in tpg{self.tpg.tag} of {self.tpg.target.wwn}")
        write.delete_acl(acl)
        self.say(f"Deleted Node ACL {wwn}.")

    def ui_command_tag(self, wwn_or_tag: str, new_tag: str) -> None:
        """
        Gives initiators a common name, the tag. ACLs with the same tag are shown as one and set
        together; a tag of one ACL is a nickname. ACLs that join a tag take over its mapped LUNs,
        CHAP settings and attributes. `info` lists who is in it.

        PARAMETERS
        ==========

        wwn_or_tag
        ----------
        The initiator, or all of that tag.

        new_tag
        -------
        The tag, without a dot, which no initiator's name is without.

        SEE ALSO
        ========
        untag
        """
        if wwn_or_tag == new_tag:
            return
        if "." in new_tag or "/" in new_tag or new_tag != new_tag.strip() or not new_tag:
            raise UsageError(
                f"'{new_tag}' is no tag", "'.', '/' and blanks around are not permitted in tag names"
            )
        from isadmin.lio.attributes import CHAP_MAX

        if len(new_tag.encode()) > CHAP_MAX or new_tag == auth.NONE:
            raise UsageError("The tag is too long or NULL", f"at most {CHAP_MAX} bytes")
        members = self.find_tagged(wwn_or_tag)
        if not members:
            raise IsadminError(f"wwn_or_tag {wwn_or_tag} not found.")
        old = [acl for acl in self.find_tagged(new_tag) if acl.wwn not in {m.wwn for m in members}]
        for acl in members:
            if old:
                _imitate(acl, old[0])
            _set_tag(acl, new_tag)

    def ui_command_untag(self, wwn_or_tag: str) -> None:
        """
        Takes the tag from an initiator, or from all of that tag. They are shown by their own
        names again and keep their settings.

        SEE ALSO
        ========
        tag
        """
        members = self.find_tagged(wwn_or_tag)
        if not members:
            raise IsadminError(f"wwn_or_tag {wwn_or_tag} not found.")
        for acl in members:
            _set_tag(acl, "")

    def find_tagged(self, name: str) -> list[NodeAcl]:
        """The ACLs of that tag or initiator."""
        return [acl for acl in self.tpg.acls() if name in (acl.wwn, acl.tag())]

    def ui_complete_delete(self, parameters: dict[str, str], text: str, current_param: str) -> list[str]:
        return [acl.wwn for acl in self.tpg.acls()]

    def ui_complete_create(self, parameters: dict[str, str], text: str, current_param: str) -> dict[str, str]:
        if current_param == "add_mapped_luns":
            return {"true": "", "false": ""}
        from isadmin.shell import candidates

        return candidates.initiators(self.tpg) if current_param == "wwn" else {}

    def ui_complete_tag(self, parameters: dict[str, str], text: str, current_param: str) -> list[str]:
        return [child.name for child in self.sorted_children()] if current_param == "wwn_or_tag" else []

    ui_complete_untag = ui_complete_tag


def _set_tag(acl: NodeAcl, tag: str) -> None:
    with attempting(f"Cannot tag {acl.wwn}"):
        files.write(f"{acl.path}/tag", tag or auth.NONE)


def _imitate(acl: NodeAcl, model: NodeAcl) -> None:
    """Give an ACL the mapped LUNs, CHAP settings and attributes of another one."""
    from isadmin.lio import write

    for mapped in acl.mapped_luns():
        write.delete_mapped_lun(mapped)
    for mapped in model.mapped_luns():
        lun = mapped.lun()
        if lun is not None:
            write.create_mapped_lun(acl, mapped.number, lun, write_protect=mapped.write_protected())
    if acl.tpg.fabric.has("auth"):
        for name in auth.FILES:
            auth.write([f"{acl.path}/auth"], name, auth.read(f"{model.path}/auth", name))
    for name in files.names(f"{model.path}/attrib"):
        with attempting(f"Cannot set attribute {name} of {acl.wwn}"):
            files.write(f"{acl.path}/attrib/{name}", files.read(f"{model.path}/attrib/{name}"))


class AclNode(ObjectNode):
    """acls/<initiator or tag>."""

    owner = "node_acl"

    def __init__(self, parent: Node, name: str, members: list[NodeAcl]) -> None:
        super().__init__(name, parent)
        self.members = members
        self.tpg = members[0].tpg

    @property
    def first(self) -> NodeAcl:
        """The member that stands for all."""
        return self.members[0]

    def paths(self) -> list[str]:
        return [acl.path for acl in self.members]

    def define_groups(self) -> None:
        super().define_groups()
        if self.tpg.fabric.has("auth"):
            self.define_table_group("auth")

    def make_children(self) -> None:
        for mapped in self.first.mapped_luns():
            MappedLunNode(self, mapped)

    def find_child(self, name: str) -> Node | None:
        number = name.removeprefix("mapped_lun")
        if number == name or not number.isdecimal():
            return None
        mapped = MappedLun(self.first, int(number))
        return MappedLunNode(self, mapped) if mapped.exists() else None

    def summary(self) -> Summary:
        parts = []
        if self.name != self.first.wwn:
            count = len(self.members)
            parts.append(f"(group of {count})" if count > 1 else f"({self.first.wwn})")
        healthy: bool | None = None
        if self.tpg.fabric.has("auth") and self.tpg.attribute("authentication"):
            if self.tpg.attribute("generate_node_acls"):
                parts.append("auth via tpg")
            else:
                directory = f"{self.first.path}/auth"
                healthy = bool(auth.read(directory, "password") and auth.read(directory, "userid"))
                mutual = files.read_or(f"{directory}/authenticate_target", "0") == "1"
                parts.append("mutual auth" if mutual else "1-way auth")
        parts.append(f"Mapped LUNs: {len(self.children)}")
        return ", ".join(parts), healthy

    def facts(self) -> dict[str, object]:
        facts: dict[str, object] = {}
        if self.first.tag():
            facts["tag"] = self.first.tag()
        if self.tpg.fabric.has("auth"):
            for name in auth.FILES:
                value = auth.read(f"{self.first.path}/auth", name)
                if value:
                    facts[f"chap_{name}"] = value
        return facts

    def ui_command_info(self) -> None:
        """
        Displays the CHAP settings and the initiators that they are for.
        """
        super().ui_command_info()
        wwns = [acl.wwn for acl in self.members]
        self.shell.answer(**self.shell.answered, wwns=wwns)
        self.say("wwns:")
        for wwn in wwns:
            self.say(wwn)

    def ui_getgroup_auth(self, name: str) -> str:
        return auth.read(f"{self.first.path}/auth", name)

    def ui_setgroup_auth(self, name: str, value: str | None) -> None:
        auth.write([f"{path}/auth" for path in self.paths()], name, value or "")
        for weakness in auth.weaknesses(f"{self.first.path}/auth", name, value or ""):
            self.warn(weakness)
        if value and name.endswith("password") and not self._enforced():
            tpg = self.path.rpartition("/acls/")[0]
            remedy = f"{tpg} set attribute authentication=1"
            self.warn(f"the attribute authentication=0 leaves this {name} unused: {remedy}")

    def _enforced(self) -> bool:
        own = files.read_or(f"{self.first.path}/attrib/authentication", "-1")
        return bool(self.tpg.attribute("authentication")) if own == "-1" else own == "1"

    def ui_command_create(
        self, mapped_lun: str, tpg_lun_or_backstore: str, write_protect: str | None = None
    ) -> Node | None:
        """
        Shows a LUN to this initiator.

        PARAMETERS
        ==========

        mapped_lun
        ----------
        The number under which the initiator sees it.

        tpg_lun_or_backstore
        --------------------
        A LUN of the portal group (3 or lun3); or the path of a storage object, or of a block
        device or file: what is missing on the way to a LUN is created, with default
        parameters.

        write_protect
        -------------
        If 1 or true, the initiator may only read.

        SEE ALSO
        ========
        delete
        """
        if not (mapped_lun.isascii() and mapped_lun.isdigit()):
            raise UsageError(f"mapped_lun must be an integer, not '{mapped_lun}'")
        number = int(mapped_lun)
        protect = self.flag(write_protect, False)
        for acl in self.members:
            if MappedLun(acl, number).exists():
                raise IsadminError(f"Mapped LUN {number} exists in the ACL of {acl.wwn}")
        from isadmin.lio import write

        with ExitStack() as undo:
            lun, news = self._lun_at(tpg_lun_or_backstore, undo)
            if not news and any(m.lun_number() == lun.number for m in self.first.mapped_luns()):
                self.warn(f"TPG LUN {lun.number} already mapped to this NodeACL")
            for acl in self.members:
                mapped = write.create_mapped_lun(acl, number, lun, write_protect=protect)
                undo.callback(write.delete_mapped_lun, mapped)
            undo.pop_all()
        for line in news:
            self.say(line)
        self.say(f"Created Mapped LUN {number}.")
        return self.new_node(MappedLunNode(self, MappedLun(self.first, number)))

    def _lun_at(self, text: str, undo: ExitStack) -> tuple[Lun, list[str]]:
        """The LUN a user named, and what was created for it, in words; `undo` removes it again."""
        digits = text.removeprefix("lun")
        if digits.isascii() and digits.isdigit():
            lun = Lun(self.tpg, int(digits))
            if not lun.exists():
                raise IsadminError(f"LUN {int(digits)} does not exist in this TPG")
            return lun, []
        from isadmin.lio import storage, write

        news = []
        so, made = storage_object_at(self, text)
        if made:
            undo.callback(storage.delete, self.lio, so)
            news.append(f"Created storage object {so.name}.")
        known = exported_as(so, self.tpg)
        if known is not None:
            return known, news
        lun = write.create_lun(self.tpg, so)
        undo.callback(write.delete_lun, lun)
        return lun, [*news, f"Created LUN {lun.number}."]

    def ui_command_delete(self, mapped_lun: str) -> None:
        """
        Hides a mapped LUN, given by the number under which the initiator sees it.

        SEE ALSO
        ========
        create
        """
        digits = mapped_lun.removeprefix("mapped_").removeprefix("lun")
        if not (digits.isascii() and digits.isdigit()):
            raise UsageError(f"mapped_lun must be an integer, not '{mapped_lun}'")
        number = int(digits)
        found = [mapped for acl in self.members if (mapped := MappedLun(acl, number)).exists()]
        if not found:
            raise IsadminError(f"No mapped LUN {number} in the ACL of {self.name}")
        from isadmin.lio import write

        for mapped in found:
            write.delete_mapped_lun(mapped)
        self.say(f"Deleted Mapped LUN {number}.")

    def ui_complete_create(self, parameters: dict[str, str], text: str, current_param: str) -> dict[str, str]:
        if current_param == "mapped_lun":
            return {str(self.first.free_lun()): "the lowest free one"}
        if current_param == "write_protect":
            return {"true": "only for reading", "false": ""}
        mapped = {one.lun_number() for one in self.first.mapped_luns()}
        free = [lun for lun in self.tpg.luns() if lun.number not in mapped]
        found = {f"lun{lun.number}": so.full_name if (so := lun.storage_object()) else "" for lun in free}
        return found | exportable(self.tpg, text)

    def ui_complete_delete(self, parameters: dict[str, str], text: str, current_param: str) -> list[str]:
        return [str(mapped.number) for mapped in self.first.mapped_luns()]


class MappedLunNode(ObjectNode):
    """acls/<initiator>/mapped_lun<n>."""

    def __init__(self, parent: Node, mapped: MappedLun) -> None:
        super().__init__(f"mapped_lun{mapped.number}", parent)
        self.mapped_lun = mapped

    def paths(self) -> list[str]:
        return [self.mapped_lun.path]

    def facts(self) -> dict[str, object]:
        link = self.mapped_lun.link()
        number = self.mapped_lun.lun_number()
        return {
            "alias": link[0] if link else "",
            "index": self.mapped_lun.number,
            "tpg_lun": "" if number is None else number,
            "write_protect": self.mapped_lun.write_protected(),
        }

    def summary(self) -> Summary:
        lun = self.mapped_lun.lun()
        so = lun.storage_object() if lun else None
        if lun is None or so is None:
            return "BROKEN LUN LINK", False
        access = "ro" if self.mapped_lun.write_protected() else "rw"
        return f"lun{lun.number} {so.full_name} ({access})", True
