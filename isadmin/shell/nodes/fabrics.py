"""The fabrics: iscsi, loopback, vhost, and the hardware's."""

from __future__ import annotations

from contextlib import ExitStack

from isadmin.errors import IsadminError, UsageError
from isadmin.lio import files
from isadmin.lio.explain import attempting
from isadmin.lio.fabrics import FABRICS, Fabric
from isadmin.lio.objects import Target
from isadmin.shell.language import Command
from isadmin.shell.node import Node, Summary
from isadmin.shell.nodes import auth
from isadmin.shell.nodes.base import ObjectNode
from isadmin.shell.nodes.tpg import SingleTpgTarget, TargetNode, create_tpg, enable


def fabric_nodes(parent: Node) -> list[FabricNode]:
    """The fabrics that targets can be made of: all software ones, and those whose hardware is there."""
    return [FabricNode(parent, fabric) for fabric in FABRICS if fabric.available()]


def fabric_node(parent: Node, name: str) -> FabricNode | None:
    """The fabric of that name, None if there is none of which targets can be made."""
    return next((FabricNode(parent, one) for one in FABRICS if one.name == name and one.available()), None)


class FabricNode(ObjectNode):
    """/<fabric>."""

    owner = "fabric"

    def __init__(self, parent: Node, fabric: Fabric) -> None:
        super().__init__(fabric.name, parent)
        self.fabric = fabric

    @property
    def directory(self) -> str:
        """Its place in configfs, which is there once the fabric is loaded."""
        return f"{self.lio.path}/{self.fabric.dirname}"

    def paths(self) -> list[str]:
        return [self.directory]

    def facts(self) -> dict[str, object]:
        return {}

    def define_groups(self) -> None:
        super().define_groups()
        if self.fabric.has("discovery_auth"):
            self.define_table_group("discovery_auth")

    def make_children(self) -> None:
        for target in self.lio.targets(self.fabric):
            self._node_of(target)

    def find_child(self, name: str) -> Node | None:
        if self.fabric.hardware or "/" in name or not self.fabric.is_valid(name):
            return None
        target = Target(self.lio, self.fabric, name)
        return self._node_of(target) if target.exists() else None

    def _node_of(self, target: Target) -> TargetNode | SingleTpgTarget:
        return TargetNode(self, target) if self.fabric.has("tpgts") else SingleTpgTarget(self, target)

    def summary(self) -> Summary:
        parts = []
        healthy: bool | None = None
        if self.fabric.has("discovery_auth") and self.ui_getgroup_discovery_auth("enable") == "True":
            directory = f"{self.directory}/discovery_auth"
            healthy = bool(auth.read(directory, "password") and auth.read(directory, "userid"))
            mutual = files.read_or(f"{directory}/authenticate_target", "0") == "1"
            parts.append("mutual disc auth" if mutual else "1-way disc auth")
        parts.append(f"Targets: {len(self.children)}")
        return ", ".join(parts), healthy

    def ui_getgroup_discovery_auth(self, name: str) -> str:
        directory = f"{self.directory}/discovery_auth"
        if name == "enable":
            return str(files.read_or(f"{directory}/enforce_discovery_auth", "0") not in ("0", ""))
        return auth.read(directory, name)

    def ui_setgroup_discovery_auth(self, name: str, value: object) -> None:
        from isadmin.lio import write

        directory = f"{self.directory}/discovery_auth"
        write.load_fabric(self.lio, self.fabric)
        if name == "enable":
            value = {"True": 1, "False": 0}.get(str(value), value)  # as it is shown
            if value not in (0, 1):
                raise UsageError(f"Cannot set enable to '{value}'", "it is 0 or 1")
            with attempting("Cannot set enable"):
                files.write(f"{directory}/enforce_discovery_auth", str(value))
            return
        text = "" if value is None else str(value)
        auth.write([directory], name, text)
        for weakness in auth.weaknesses(directory, name, text):
            self.warn(weakness)
        if text and name.endswith("password") and self.ui_getgroup_discovery_auth("enable") != "True":
            self.warn(f"enable=0 leaves this {name} unused: {self.path} set discovery_auth enable=1")

    def ui_command_create(self, wwn: str | None = None) -> Node | None:
        """
        Creates a target.

        "wwn" is its name, of a type that the fabric has (see `info`). If it is omitted, one is
        made up; where names are those of hardware ports, it is the first unused one. A target of
        a fabric with portal groups gets its first one, as `create` there makes it.

        SEE ALSO
        ========
        info delete
        """
        from isadmin.lio import write

        ports = self.fabric.ports()
        if wwn is None and ports is not None:
            wwn = self._unused(ports)
        with ExitStack() as undo:
            target = write.create_target(self.lio, self.fabric, wwn)
            undo.callback(write.delete_target, target)
            news = [f"Created target {target.wwn}."]
            node: Node
            if self.fabric.has("tpgts"):
                _, more = create_tpg(self, target)
                news += more
                node = TargetNode(self, target).get_child("tpg1")
            else:
                tpg = write.create_tpg(target, 1)
                if self.fabric.name != "sbp":
                    enable(tpg)
                node = SingleTpgTarget(self, target)
            undo.pop_all()
        if ports is not None and target.wwn not in ports:
            self.warn("Hardware missing for this WWN")
        for line in news:
            self.say(line)
        return self.new_node(node)

    def _unused(self, ports: list[str]) -> str:
        taken = {target.wwn for target in self.lio.targets(self.fabric)}
        for port in ports:
            if port not in taken:
                return port
        raise IsadminError(f"All ports of {self.fabric.name} are targets already")

    def takes_along(self, command: Command) -> list[str]:
        from isadmin.shell import consequences

        wwn = consequences.argument(command, "wwn") if command.name == "delete" else None
        if not wwn:
            return []
        from isadmin.lio import write

        target = Target(self.lio, self.fabric, write.normalized_wwn(self.fabric, wwn))
        return consequences.of_tpgs(target.tpgs()) if target.exists() else []

    def ui_command_delete(self, wwn: str) -> None:
        """
        Deletes a target and all below it. Its sessions end; who types this at a terminal is told of
        them and asked, without the option -y. Storage objects stay.

        SEE ALSO
        ========
        create
        """
        from isadmin.lio import write

        target = Target(self.lio, self.fabric, write.normalized_wwn(self.fabric, wwn))
        if not target.exists():
            raise IsadminError(f"No target {target.wwn} in {self.fabric.name}")
        write.delete_target(target)
        self.say(f"Deleted Target {wwn}.")

    def ui_command_info(self) -> None:
        """
        Displays the types of names that targets of this fabric have, and what it can do.
        """
        fabric = self.fabric
        ports = fabric.ports()
        facts = {
            "name": fabric.name,
            "configfs": self.directory,
            "wwn_types": fabric.wwn_types,
            "wwns": ports,
            "features": fabric.features,
            "kernel_module": fabric.kernel_module,
        }
        self.shell.answer(facts=facts)
        self.say(f"Fabric module name: {fabric.name}")
        self.say(f"ConfigFS path: {self.directory}")
        self.say(f"Allowed WWN types: {', '.join(fabric.wwn_types)}")
        if ports is not None:
            self.say(f"Allowed WWNs list: {', '.join(ports)}")
        self.say(f"Fabric module features: {', '.join(fabric.features)}")
        self.say(f"Corresponding kernel module: {fabric.kernel_module}")

    def ui_command_version(self) -> None:
        """
        Displays the version of the fabric's module.
        """
        version = next(
            (
                text
                for name in ("lio_version", "version")
                if (text := files.read_or(f"{self.directory}/{name}", ""))
            ),
            "",
        )
        self.shell.answer(of=f"fabric {self.fabric.name}", version=version or None)
        self.say(f"Target fabric module {self.fabric.name}: {version}".strip())

    def ui_complete_create(self, parameters: dict[str, str], text: str, current_param: str) -> list[str]:
        taken = {target.wwn for target in self.lio.targets(self.fabric)}
        return [port for port in self.fabric.ports() or () if port not in taken]

    def ui_complete_delete(self, parameters: dict[str, str], text: str, current_param: str) -> list[str]:
        return sorted(target.wwn for target in self.lio.targets(self.fabric))
