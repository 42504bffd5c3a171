"""Targets and their portal groups."""

from __future__ import annotations

from isadmin.errors import IsadminError, UsageError
from isadmin.lio import files
from isadmin.lio.explain import attempting
from isadmin.lio.objects import Target, Tpg
from isadmin.shell.language import Command
from isadmin.shell.node import Node, Summary
from isadmin.shell.nodes import auth
from isadmin.shell.nodes.acls import Acls
from isadmin.shell.nodes.addresses import bracketed, is_wildcard
from isadmin.shell.nodes.base import ObjectNode
from isadmin.shell.nodes.luns import Luns
from isadmin.shell.nodes.portals import Portals, default_portal
from isadmin.shell.nodes.reshaping import rename_target


class TpgNode(ObjectNode):
    """<target>/tpg<tag>."""

    owner = "tpg"

    def __init__(self, parent: Node, tpg: Tpg, name: str = "") -> None:
        super().__init__(name or f"tpg{tpg.tag}", parent)
        self.tpg = tpg

    def paths(self) -> list[str]:
        return [self.tpg.path]

    def define_groups(self) -> None:
        super().define_groups()
        if self.tpg.fabric.has("auth"):
            self.define_table_group("auth")

    def make_children(self) -> None:
        Luns(self, self.tpg)
        if self.tpg.fabric.has("acls"):
            Acls(self, self.tpg)
        if self.tpg.fabric.has("nps"):
            Portals(self, self.tpg)

    def summary(self) -> Summary:
        tpg, fabric = self.tpg, self.tpg.fabric
        if not tpg.enabled():
            return "disabled", False
        parts = [tpg.nexus()] if fabric.has("nexus") else []
        healthy: bool | None = None
        if fabric.has("acls"):
            demo = tpg.attribute("generate_node_acls")
            parts.append("gen-acls" if demo else "no-gen-acls")
            if fabric.has("auth"):
                words, healthy = self._auth_summary(bool(demo))
                parts += words
        return ", ".join(parts), healthy

    def _auth_summary(self, demo: bool) -> tuple[list[str], bool | None]:
        if not self.tpg.attribute("authentication"):
            return ["no-auth"], True if demo else None
        if not demo:
            return ["auth per-acl"], None
        directory = f"{self.tpg.path}/auth"
        mutual = files.read_or(f"{directory}/authenticate_target", "0") == "1"
        healthy = bool(auth.read(directory, "password") and auth.read(directory, "userid"))
        return ["tpg-auth", "mutual auth" if mutual else "1-way auth"], healthy

    def facts(self) -> dict[str, object]:
        facts: dict[str, object] = {"tag": self.tpg.tag, "enable": self.tpg.enabled()}
        if self.tpg.fabric.has("auth"):
            for name in auth.FILES:
                value = auth.read(f"{self.tpg.path}/auth", name)
                if value:
                    facts[f"chap_{name}"] = value
        return facts

    def ui_getgroup_auth(self, name: str) -> str:
        return auth.read(f"{self.tpg.path}/auth", name)

    def ui_setgroup_auth(self, name: str, value: str | None) -> None:
        directory = f"{self.tpg.path}/auth"
        auth.write([directory], name, value or "")
        for weakness in auth.weaknesses(directory, name, value or ""):
            self.warn(weakness)
        if value and name.endswith("password") and not self.tpg.attribute("authentication"):
            self.warn(
                f"the attribute authentication=0 leaves this {name} unused: set attribute authentication=1"
            )
        elif value and name.endswith("password") and not self.tpg.attribute("generate_node_acls"):
            self.warn(f"this {name} is for initiators without an ACL: each ACL has its own group auth")

    def ui_command_enable(self) -> None:
        """
        Lets initiators log in.

        SEE ALSO
        ========
        disable status
        """
        if self.tpg.enabled():
            self.say("The TPGT is already enabled.")
            return
        enable(self.tpg)
        self.say("The TPGT has been enabled.")

    def ui_command_disable(self) -> None:
        """
        Lets nobody log in any more.

        SEE ALSO
        ========
        enable status
        """
        if not self.tpg.enabled():
            self.say("The TPGT is already disabled.")
            return
        if not files.read_or(f"{self.tpg.path}/enable", ""):
            where = f"{self.tpg.target.wwn} of {self.tpg.fabric.name}"
            raise IsadminError(
                f"A portal group of {where} cannot be disabled", "it is enabled while it exists"
            )
        with attempting("The TPGT could not be disabled"):
            files.write(f"{self.tpg.path}/enable", "0")
        self.say("The TPGT has been disabled.")


def enable(tpg: Tpg) -> None:
    """Enable a portal group, if its fabric has such a thing."""
    if not tpg.enabled():
        with attempting("The TPGT could not be enabled"):
            files.write(f"{tpg.path}/enable", "1")


class SingleTpgTarget(TpgNode):
    """A target of a fabric without portal group tags: one node for it and its only portal group."""

    def __init__(self, parent: Node, target: Target) -> None:
        super().__init__(parent, Tpg(target, 1), target.wwn)
        self.target = target

    def summary(self) -> Summary:
        if not self.target.fabric.is_valid(self.target.wwn):
            return "INVALID WWN", False
        return super().summary()

    def takes_along(self, command: Command) -> list[str]:
        from isadmin.shell import consequences

        return consequences.of_tpgs([self.tpg]) if command.name == "rename" else []

    def ui_command_rename(self, wwn: str) -> None:
        """
        Gives the target another name, with all that is below it. Its sessions end; without a
        terminal to ask at, that needs the option -y. If something fails, everything is as it was.
        """
        rename_target(self, self.target, wwn)


class TargetNode(ObjectNode):
    """A target of a fabric with portal group tags."""

    owner = "target"

    def __init__(self, parent: Node, target: Target) -> None:
        super().__init__(target.wwn, parent)
        self.target = target

    def paths(self) -> list[str]:
        return [self.target.path]

    def make_children(self) -> None:
        for tpg in self.target.tpgs():
            TpgNode(self, tpg)

    def find_child(self, name: str) -> Node | None:
        tag = name.removeprefix("tpg")
        if tag == name or not tag.isdecimal():
            return None
        tpg = Tpg(self.target, int(tag))
        return TpgNode(self, tpg) if tpg.exists() else None

    def summary(self) -> Summary:
        if not self.target.fabric.is_valid(self.target.wwn):
            return "INVALID WWN", False
        return f"TPGs: {len(self.children)}", None

    def facts(self) -> dict[str, object]:
        return {"fabric": self.target.fabric.name, "wwn": self.target.wwn}

    def ui_command_create(self, tag: str | None = None) -> Node | None:
        """
        Creates a target portal group.

        "tag" is its number, with or without "tpg" before it; the lowest free one if omitted. The
        preferences auto_enable_tpgt and auto_add_default_portal tell whether it is enabled and
        gets the portal that default_portal names. Its attribute authentication is set to 0.

        SEE ALSO
        ========
        delete
        """
        tpg, news = create_tpg(self, self.target, None if tag is None else _tag(tag))
        for line in news:
            self.say(line)
        return self.new_node(TpgNode(self, tpg))

    def takes_along(self, command: Command) -> list[str]:
        from isadmin.shell import consequences

        if command.name == "rename":
            return consequences.of_tpgs(self.target.tpgs())
        tag = consequences.argument(command, "tag") if command.name == "delete" else None
        tpg = Tpg(self.target, _tag(tag)) if tag else None
        return consequences.of_tpgs([tpg]) if tpg is not None and tpg.exists() else []

    def ui_command_delete(self, tag: str) -> None:
        """
        Deletes a portal group, its sessions, LUNs, ACLs and portals. "tag" is its number, with or
        without "tpg" before it. Who types this at a terminal is told of sessions that end, and
        asked, without the option -y.

        SEE ALSO
        ========
        create
        """
        tpg = Tpg(self.target, _tag(tag))
        if not tpg.exists():
            raise IsadminError(f"No portal group tpg{tpg.tag} in {self.target.wwn}")
        from isadmin.lio import write

        write.delete_tpg(tpg)
        self.say(f"Deleted TPGT {tpg.tag}.")

    def ui_command_rename(self, wwn: str) -> None:
        """
        Gives the target another name, with all that is below it. Its sessions end; without a
        terminal to ask at, that needs the option -y. If something fails, everything is as it was.

        SEE ALSO
        ========
        create delete
        """
        rename_target(self, self.target, wwn)

    def ui_complete_delete(self, parameters: dict[str, str], text: str, current_param: str) -> list[str]:
        return [str(tpg.tag) for tpg in self.target.tpgs()]


def _tag(text: str) -> int:
    digits = text.removeprefix("tpg")
    if not (digits.isascii() and digits.isdigit()) or int(digits) > 65535:
        raise UsageError(f"Tag argument must be a number, not '{text}'", "from 0 to 65535")
    return int(digits)


def create_tpg(node: ObjectNode, target: Target, tag: int | None = None) -> tuple[Tpg, list[str]]:
    """A portal group as `create` makes it, and what to say of it. All of it or nothing is made.

    A default portal that another portal keeps from listening is left out: that is for the user to decide.
    Raises IsadminError.
    """
    from isadmin.lio import write

    tpg = write.create_tpg(target, tag)
    news = [f"Created TPG {tpg.tag}."]
    try:
        if node.shell.preferences.flag("auto_enable_tpgt"):
            enable(tpg)
        if target.fabric.has("auth"):
            with attempting("Cannot set attribute authentication"):
                files.write(f"{tpg.path}/attrib/authentication", "0")
        if target.fabric.has("nps") and node.shell.preferences.flag("auto_add_default_portal"):
            news += _add_default_portal(node, tpg)
    except IsadminError:
        write.delete_tpg(tpg)
        raise
    return tpg, news


def _add_default_portal(node: ObjectNode, tpg: Tpg) -> list[str]:
    from isadmin.lio import write

    address, port = default_portal(node)
    try:
        write.create_portal(tpg, bracketed(address), port)
    except write.PortalConflictError as error:
        return [f"Default portal not created: {error.other_name} is in its way."]
    except IsadminError as error:
        error.remedy = "set global default_portal=... or auto_add_default_portal=false"
        raise
    where = f"listening on all IPs ({address})" if is_wildcard(address) else f"on {address}"
    return ["Global pref auto_add_default_portal=true", f"Created default portal {where}, port {port}."]
