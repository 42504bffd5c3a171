"""portals: the addresses where a portal group listens."""

from __future__ import annotations

from isadmin.errors import IsadminError
from isadmin.lio.objects import Portal, Tpg
from isadmin.shell.node import Node, Summary
from isadmin.shell.nodes.addresses import (
    DEFAULT_PORT,
    bracketed,
    is_on_this_host,
    is_wildcard,
    parse_address,
    parse_port,
    parse_portal,
    same_address,
)
from isadmin.shell.nodes.base import LioNode, ObjectNode

_ALL_OF_IPV6 = (f"[::0]:{DEFAULT_PORT}", f"[::]:{DEFAULT_PORT}")


class Portals(LioNode):
    """portals."""

    def __init__(self, parent: Node, tpg: Tpg) -> None:
        super().__init__("portals", parent)
        self.tpg = tpg

    def make_children(self) -> None:
        for portal in self.tpg.portals():
            PortalNode(self, portal)

    def find_child(self, name: str) -> Node | None:
        found = {portal.name: portal for portal in self.tpg.portals()}
        portal = found.get(name)
        if portal is None and name in _ALL_OF_IPV6:
            portal = self._in_place_of_all_of_ipv6(list(found.values()))
        return None if portal is None else PortalNode(self, portal)

    def _in_place_of_all_of_ipv6(self, portals: list[Portal]) -> Portal | None:
        """The portal that a new target has here where targetcli 3 gives it ::0:3260."""
        wanted = default_portal(self)
        standing = [p for p in portals if (p.address, p.port) == wanted and is_wildcard(p.address)]
        return standing[0] if standing and wanted[1] == DEFAULT_PORT else None

    def summary(self) -> Summary:
        return f"Portals: {len(self.children)}", None

    def ui_command_create(self, ip_address: str | None = None, ip_port: str | None = None) -> Node | None:
        """
        Makes the portal group listen on an IP address and TCP port.

        PARAMETERS
        ==========

        ip_address
        ----------
        An IPv4 or IPv6 address. 0.0.0.0 is all of IPv4, ::0 all of IPv6 and IPv4. If omitted, that
        of the preference default_portal. An address that this host does not have (yet) is
        accepted, with a warning. Link-local IPv6 addresses are not supported.

        ip_port
        -------
        The port, 3260 if omitted.

        SEE ALSO
        ========
        delete
        """
        default, _ = default_portal(self)
        port = DEFAULT_PORT if ip_port is None else parse_port(ip_port)
        address = default if ip_address is None else parse_address(ip_address)
        for other in self.tpg.portals():
            if other.port == port and same_address(other.address, address):
                raise IsadminError(f"Portal {other.name} exists in {self._where()}")
        from isadmin.lio import write

        portal = write.create_portal(self.tpg, bracketed(address), port)
        if port == DEFAULT_PORT:
            self.say(f"Using default IP port {port}")
        if is_wildcard(address):
            self.say(f"Binding to INADDR_ANY ({address})")
        if not is_on_this_host(address):
            self.warn(f"{address} is not an address of this host now: the portal works once it is")
        self.say(f"Created network portal {address}:{port}.")
        return self.new_node(PortalNode(self, portal))

    def ui_command_delete(self, ip_address: str, ip_port: str) -> None:
        """
        Stops listening on an address and port.

        Sessions that are open stay so. Where there is no ::0:3260, that name stands for the default
        portal 0.0.0.0:3260: scripts written for targetcli 3 expect a new target to listen there.

        SEE ALSO
        ========
        create
        """
        address, port = parse_address(ip_address), parse_port(ip_port)
        portals = self.tpg.portals()
        found = [p for p in portals if p.port == port and same_address(p.address, address)]
        if not found and same_address(address, "::0") and port == DEFAULT_PORT:
            standing = self._in_place_of_all_of_ipv6(list(portals))
            found = [] if standing is None else [standing]
        if not found:
            have = ", ".join(p.name for p in portals)
            raise IsadminError(f"No portal {address}:{port} in {self._where()}", have and f"there is {have}")
        from isadmin.lio import write

        for portal in found:
            write.delete_portal(portal)
            if same_address(portal.address, address):
                self.say(f"Deleted network portal {address}:{port}")
            else:
                note = f"the default portal; there was no {address}:{port}"
                self.say(f"Deleted network portal {portal.name} ({note})")

    def _where(self) -> str:
        return f"tpg{self.tpg.tag} of {self.tpg.target.wwn}"

    def ui_complete_create(self, parameters: dict[str, str], text: str, current_param: str) -> dict[str, str]:
        if current_param != "ip_address":
            return {str(DEFAULT_PORT): "iSCSI's own port"}
        from isadmin.shell import candidates

        return candidates.addresses(self.tpg)

    def ui_complete_delete(self, parameters: dict[str, str], text: str, current_param: str) -> list[str]:
        portals = self.tpg.portals()
        if current_param == "ip_address":
            return sorted({p.address.strip("[]") for p in portals})
        address = parameters.get("ip_address")
        return sorted({str(p.port) for p in portals if not address or p.address.strip("[]") == address})


def default_portal(node: LioNode) -> tuple[str, int]:
    """Address and port of the preference default_portal. Raises UsageError if it is malformed."""
    return parse_portal(node.shell.preferences.text("default_portal"))


class PortalNode(ObjectNode):
    """portals/<address>:<port>."""

    def __init__(self, parent: Node, portal: Portal) -> None:
        super().__init__(portal.name, parent)
        self.portal = portal

    def paths(self) -> list[str]:
        return [self.portal.path]

    def facts(self) -> dict[str, object]:
        portal = self.portal
        return {
            "ip_address": portal.address,
            "port": portal.port,
            "iser": portal.iser(),
            "offload": portal.offload(),
        }

    def summary(self) -> Summary:
        if self.portal.iser():
            return "iser", True
        return "offload" if self.portal.offload() else "", True

    def ui_command_enable_iser(self, boolean: str) -> None:
        """
        Turns iSER (iSCSI over RDMA) on or off for this portal. Where the target has no such
        thing, nothing happens.
        """
        self._switch("iser", self.flag(boolean, False))
        self.say(f"iSER enable now: {self.portal.iser()}")

    def ui_command_enable_offload(self, boolean: str) -> None:
        """
        Turns the offload of this portal to a network adapter on or off. Where the target has no
        such thing, nothing happens.
        """
        self._switch("cxgbit", self.flag(boolean, False))
        self.say(f"offload enable now: {self.portal.offload()}")

    def _switch(self, name: str, value: bool) -> None:
        from isadmin.lio import write

        write.set_portal_flag(self.portal, name, value)
