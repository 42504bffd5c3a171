"""The manual page isadmin-saveconfig(5): the format of saved configurations."""

from __future__ import annotations

from isadmin.config import shape
from isadmin.docs.mdoc import Page

TITLES = {
    "": "The file",
    "storage_objects": "storage_objects: what /backstores holds",
    "alua_tpgs": "alua_tpgs: ALUA groups of a storage object",
    "targets": "targets: what the fabrics hold",
    "tpgs": "tpgs: portal groups of a target",
    "luns": "luns: storage objects that a portal group exports",
    "portals": "portals: where a portal group listens",
    "node_acls": "node_acls: initiators that a portal group lets in",
    "mapped_luns": "mapped_luns: what an initiator sees",
    "fabric_modules": "fabric_modules: discovery of a fabric",
}
"""Every kind of object in a file, and what it is."""

_CHAP = {
    "userid": "Name that the initiator must give.",
    "password": "Secret that the initiator must know, as it is.",
    "mutual_userid": "Name by which the target proves itself.",
    "mutual_password": "Secret with which the target proves itself.",
}
_ATTRIBUTES = "Values of the configuration group attribute, by name."
_ALIAS = "The name of a link in configfs; it configures nothing."

MEANINGS: dict[str, dict[str, str]] = {
    "": {
        "storage_objects": "Storage objects.",
        "targets": "Targets of every fabric.",
        "fabric_modules": "Fabrics with discovery authentication.",
    },
    "storage_objects": {
        "name": "Its name, unique in its plugin.",
        "plugin": "Where it comes from.",
        "dev": "fileio, block, pscsi: the path of the file or device; for pscsi also H:C:T:L.",
        "size": "fileio on files, ramdisk, user: its size in bytes.",
        "wwn": "Its unit serial number.",
        "write_back": "fileio: tell initiators of a volatile write cache.",
        "readonly": "block: initiators may only read.",
        "exclusive": "block: nobody else may use the device.",
        "aio": "fileio: asynchronous I/O.",
        "nullio": "ramdisk: there is no memory, what is written is forgotten.",
        "config": "user: what its handler is told.",
        "hw_max_sectors": "user: most sectors of one command.",
        "control": "user: more of what its handler is told.",
        "attributes": _ATTRIBUTES,
        "alua_tpgs": "Its ALUA groups.",
    },
    "alua_tpgs": {"name": "Its name.", "tg_pt_gp_id": "The identifier that initiators see."},
    "targets": {
        "wwn": "Its name.",
        "fabric": "Its fabric, as the tree names it.",
        "attributes": _ATTRIBUTES,
        "parameters": "Values of the configuration group parameter, by name.",
        "tpgs": "Its portal groups.",
    },
    "tpgs": {
        "tag": "Its number.",
        "enable": "Initiators may log in.",
        "attributes": _ATTRIBUTES,
        "parameters": "Values of the configuration group parameter, by name.",
        "luns": "Its LUNs.",
        "portals": "Its portals.",
        "node_acls": "Its ACLs.",
        **{f"chap_{name}": meaning for name, meaning in _CHAP.items()},
    },
    "luns": {
        "index": "Its number.",
        "storage_object": "What it exports: /backstores/PLUGIN/NAME.",
        "alias": _ALIAS,
        "alua_tg_pt_gp_name": "The ALUA group that it is in.",
    },
    "portals": {
        "ip_address": "The address, IPv6 in brackets.",
        "port": "The TCP port.",
        "iser": "iSCSI over RDMA.",
        "offload": "Offload to a network adapter.",
    },
    "node_acls": {
        "node_wwn": "The initiator's name.",
        "tag": "A name it shares with other ACLs.",
        "attributes": _ATTRIBUTES,
        "mapped_luns": "The LUNs it sees.",
        **{f"chap_{name}": meaning for name, meaning in _CHAP.items()},
    },
    "mapped_luns": {
        "index": "The number under which the initiator sees it.",
        "tpg_lun": "The number of the portal group's LUN.",
        "write_protect": "The initiator may only read.",
        "alias": _ALIAS,
    },
    "fabric_modules": {
        "name": "Its name.",
        "discovery_enable_auth": "Demand CHAP for discovery.",
        **{f"discovery_{name}": meaning for name, meaning in _CHAP.items()},
    },
}
"""Every key of every object, and what it means."""


def page() -> Page:
    """isadmin-saveconfig(5)."""
    made = Page("isadmin-saveconfig", 5, "saved configurations of LIO targets")
    made.heading("DESCRIPTION")
    made.paragraph(
        "A saved configuration is a JSON file in the format that LIO's other tools have too: a file of "
        "theirs restores here, and the other way round. `saveconfig` writes it and `restoreconfig` reads "
        "it, gzipped or not. Keys that isadmin does not know are kept.",
        "It holds CHAP secrets as they are, and is written with mode 0600. Its values are in one order, so "
        "that the same configuration is always the same text.",
    )
    for name, rules in shape.RULES.items():
        made.subheading(TITLES[name])
        made.definitions(((f"Li {key}", _entry(name, key)) for key in rules), compact=True)
        if name == "alua_tpgs":
            made.paragraph(f"Beside these the values of the group alua: {', '.join(sorted(shape.ALUA))}.")
    made.heading("EXAMPLES")
    made.example(EXAMPLE.splitlines())
    made.heading("SEE ALSO")
    made.raw(".Xr isadmin 8 ,", ".Xr isadmin-userspace 8")
    return made


EXAMPLE = """\
{
  "fabric_modules": [],
  "storage_objects": [
    {
      "name": "scratch",
      "plugin": "ramdisk",
      "size": 67108864
    }
  ],
  "targets": [
    {
      "fabric": "iscsi",
      "tpgs": [
        {
          "enable": true,
          "luns": [
            {
              "index": 0,
              "storage_object": "/backstores/ramdisk/scratch"
            }
          ],
          "portals": [
            {
              "ip_address": "0.0.0.0",
              "port": 3260
            }
          ],
          "tag": 1
        }
      ],
      "wwn": "iqn.2023-01.com.example:storage1"
    }
  ]
}
"""


def _entry(name: str, key: str) -> str:
    rule = shape.RULES[name][key]
    said = [MEANINGS[name][key]]
    if rule.choices:
        said.append(f"One of {', '.join(rule.choices)}.")
    elif rule.kind == "number" and rule.high and rule.high < 2**63:
        said.append(f"A number from {rule.low} to {rule.high}.")
    else:
        kinds = {"text": "Text.", "number": "A number.", "flag": "True or false.", "values": "An object."}
        said.append(kinds.get(rule.kind, f"A list of objects: see {rule.members} below."))
    if rule.required:
        said.append("Required.")
    return " ".join(said)
