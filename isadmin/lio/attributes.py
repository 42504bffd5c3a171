"""Every attribute and parameter of LIO's objects: type, range, default, and what it means. One table.

The shell's `get`, `set`, help and completion read it, and so do the generators of the manual. Names are the
files' in configfs, defaults and ranges are what kernel 6.1 shows and accepts (RFC 7143 section 13 for the
login keys, SPC-4 and SBC-3 for the rest). The kernel stays the judge of a value: the table explains a
refusal, it does not pre-empt one, so that a newer kernel's wider range works.

    storage_object  attribute             core/<hba>/<name>/attrib/*
    port_group      alua                  core/<hba>/<name>/alua/<group>/*
    fabric          discovery_auth        iscsi/discovery_auth/*
    target          parameter
    tpg             attribute parameter auth
    node_acl        attribute parameter auth
    lun             alua
"""

from __future__ import annotations

from isadmin.light import record

U32 = 4294967295


@record(frozen=True, slots=True)
class Attribute:
    """One file of an object's group, as the shell shows it."""

    name: str
    type: str
    """number, string or yesno: the parameter types of the shell."""
    meaning: str
    default: str = ""
    """The value of a fresh object; empty where it depends on the device."""
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    """All legal values, or the words a comma-separated list is made of."""
    writable: bool = True
    frozen: bool = False
    """The kernel refuses a change while the storage object is exported as a LUN."""
    secret: bool = False

    def legal(self) -> str:
        """The accepted values in words, for errors and help; empty when anything goes."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.low is not None and self.high is not None:
            return f"{self.low} or {self.high}" if self.high - self.low == 1 else f"{self.low} to {self.high}"
        return ""


def _flag(name: str, default: str, meaning: str, *, frozen: bool = False) -> Attribute:
    return Attribute(name, "number", meaning, default, 0, 1, frozen=frozen)


def _number(name: str, default: str, low: int, high: int, meaning: str, *, frozen: bool = False) -> Attribute:
    return Attribute(name, "number", meaning, default, low, high, frozen=frozen)


def _fixed(name: str, meaning: str, type_: str = "number") -> Attribute:
    return Attribute(name, type_, meaning, writable=False)


def _yesno(name: str, default: str, meaning: str) -> Attribute:
    return Attribute(name, "yesno", meaning, default, choices=("Yes", "No"))


def _text(name: str, default: str, meaning: str, choices: tuple[str, ...] = ()) -> Attribute:
    return Attribute(name, "string", meaning, default, choices=choices)


def _table(*attributes: Attribute) -> dict[str, Attribute]:
    return {attribute.name: attribute for attribute in attributes}


STORAGE_OBJECT_ATTRIBUTES = _table(
    _flag("alua_support", "1", "Report ALUA target port groups; fixed for all but pscsi and user objects."),
    Attribute(
        "block_size",
        "number",
        "Logical block size in bytes.",
        "512",
        choices=("512", "1024", "2048", "4096"),
        frozen=True,
    ),
    _flag("emulate_3pc", "1", "Serve EXTENDED COPY, so that initiators copy inside the target (ODX, XCOPY)."),
    _flag("emulate_caw", "1", "Serve COMPARE AND WRITE, which clustered file systems lock with."),
    _flag("emulate_dpo", "1", "Disable page out bit. Kept for old tools: the kernel ignores it."),
    _flag("emulate_fua_read", "1", "Force unit access for reads. Kept for old tools: the kernel ignores it."),
    _flag(
        "emulate_fua_write", "1", "Honour force unit access: such a write is on the medium before its answer."
    ),
    _flag(
        "emulate_model_alias",
        "0",
        "Show the storage object's name as the INQUIRY product, not the plugin's.",
        frozen=True,
    ),
    _flag("emulate_pr", "1", "Serve SCSI-2 and persistent reservations."),
    Attribute(
        "emulate_rest_reord",
        "number",
        "Restricted reordering of commands; only 0 is implemented.",
        "0",
        choices=("0",),
    ),
    _flag("emulate_tas", "1", "Answer TASK ABORTED to other initiators whose commands were aborted."),
    _flag("emulate_tpu", "0", "Thin provisioning: serve UNMAP."),
    _flag("emulate_tpws", "0", "Thin provisioning: serve WRITE SAME with the UNMAP bit."),
    _number(
        "emulate_ua_intlck_ctrl",
        "0",
        0,
        2,
        "Unit attention interlock: 0 cleared when reported, 1 kept, 2 established.",
        frozen=True,
    ),
    _flag(
        "emulate_write_cache",
        "0",
        "Report a volatile write cache: writes are stable after a cache flush only.",
    ),
    _flag(
        "enforce_pr_isids", "1", "Persistent reservations tell an initiator's sessions apart by their ISID."
    ),
    _flag(
        "force_pr_aptpl",
        "0",
        "Keep persistent reservations over a power loss even when the initiator did not ask.",
        frozen=True,
    ),
    _fixed("hw_block_size", "Block size of the device below, in bytes."),
    _fixed("hw_max_sectors", "Largest transfer of the device below, in blocks."),
    _fixed("hw_pi_prot_type", "Protection information type of the device below; 0 is none."),
    _fixed("hw_queue_depth", "Most commands the device below takes at a time."),
    _flag("is_nonrot", "0", "Report a medium that does not rotate (SSD)."),
    _number("max_unmap_block_desc_count", "", 0, U32, "Most ranges in one UNMAP command."),
    _number("max_unmap_lba_count", "", 0, U32, "Most blocks that one UNMAP command may name."),
    _number("max_write_same_len", "", 0, U32, "Most blocks that one WRITE SAME may cover; 0 sets no limit."),
    _number(
        "optimal_sectors",
        "",
        0,
        U32,
        "Recommended transfer size in blocks; at most hw_max_sectors.",
        frozen=True,
    ),
    _flag("pgr_support", "1", "Persistent reservations; fixed for all but pscsi and user objects."),
    _flag("pi_prot_format", "0", "Write 1 to initialize the protection information; needs pi_prot_type."),
    Attribute(
        "pi_prot_type",
        "number",
        "T10 protection information type; 0 is none.",
        "0",
        choices=("0", "1", "3"),
        frozen=True,
    ),
    _flag("pi_prot_verify", "0", "Check protection information on reads and writes."),
    _number("queue_depth", "", 1, U32, "Most commands at a time; at most hw_queue_depth.", frozen=True),
    _number("unmap_granularity", "", 0, U32, "Blocks to which UNMAP requests are best rounded."),
    _number("unmap_granularity_alignment", "", 0, U32, "First block that is aligned to unmap_granularity."),
    _flag("unmap_zeroes_data", "0", "Report that unmapped blocks read as zeroes."),
    # user objects (tcmu-runner)
    _fixed("cmd_ring_size_mb", "Size of the command ring shared with the handler, in MiB."),
    _number(
        "cmd_time_out",
        "30",
        0,
        U32,
        "Seconds until a command the handler does not answer fails; 0 waits for ever.",
    ),
    _fixed("data_pages_per_blk", "Pages in one block of the data area shared with the handler."),
    _text("dev_config", "", "What the handler was told to open: handler/argument."),
    _number("dev_size", "", 0, U32 * U32, "Size in bytes as the handler reports it."),
    _fixed("max_data_area_mb", "Size of the data area shared with the handler, in MiB."),
    _flag("nl_reply_supported", "0", "Whether the handler answers netlink events."),
    _number(
        "qfull_time_out",
        "-1",
        -1,
        U32,
        "Seconds to wait for room in the ring; -1 is the default, 0 fails at once.",
    ),
    _flag("tmr_notification", "0", "Tell the handler of task management requests."),
)

PORT_GROUP_ALUA = _table(
    Attribute(
        "alua_access_state",
        "number",
        "Access state: 0 active/optimized, 1 active/non-optimized, 2 standby, 3 unavailable, "
        "4 LBA dependent, 14 offline, 15 transitioning.",
        "0",
        choices=("0", "1", "2", "3", "4", "14", "15"),
    ),
    _number(
        "alua_access_status", "0", 0, 2, "Who changed the state last: 0 nobody, 1 an initiator, 2 the target."
    ),
    _number(
        "alua_access_type",
        "3",
        0,
        3,
        "Who may change the state: 0 nobody, 1 the target, 2 initiators, 3 both.",
    ),
    _flag("alua_support_active_nonoptimized", "1", "Report active/non-optimized as a supported state."),
    _flag("alua_support_active_optimized", "1", "Report active/optimized as a supported state."),
    _fixed("alua_support_lba_dependent", "Whether LBA dependent is a supported state."),
    _flag("alua_support_offline", "1", "Report offline as a supported state."),
    _flag("alua_support_standby", "1", "Report standby as a supported state."),
    _flag("alua_support_transitioning", "1", "Report transitioning as a supported state."),
    _flag("alua_support_unavailable", "1", "Report unavailable as a supported state."),
    _flag("alua_write_metadata", "0", "Keep the access state in a file over restarts."),
    _number(
        "implicit_trans_secs", "0", 0, 255, "Seconds an initiator waits for a transition the target began."
    ),
    _fixed("members", "The LUNs in this group.", "string"),
    _number(
        "nonop_delay_msecs",
        "100",
        0,
        U32,
        "Delay of each command while active/non-optimized, in milliseconds.",
    ),
    _flag("preferred", "0", "Mark this group as the one initiators should prefer."),
    _fixed("tg_pt_gp_id", "Target port group identifier."),
    _number(
        "trans_delay_msecs",
        "0",
        0,
        U32,
        "Time spent transitioning before a new state holds, in milliseconds.",
    ),
)

TARGET_PARAMETERS = _table(
    _number(
        "cmd_completion_affinity",
        "-1",
        -2,
        65535,
        "CPU that completes commands: -1 the one that took the command, -2 any, else its number.",
    ),
)

TPG_ATTRIBUTES = _table(
    _flag("authentication", "1", "Demand CHAP of every initiator. With 0 the auth groups are not looked at."),
    _flag("cache_dynamic_acls", "0", "Demo mode: keep an initiator's access for its next login."),
    _number("default_cmdsn_depth", "64", 1, 512, "Commands an initiator may have outstanding in a session."),
    _number("default_erl", "0", 0, 2, "Error recovery level offered by default."),
    _flag("demo_mode_discovery", "1", "Demo mode: list this portal group to initiators without an ACL."),
    _flag("demo_mode_write_protect", "1", "Demo mode: initiators without an ACL may only read."),
    Attribute(
        "fabric_prot_type",
        "number",
        "T10 protection information made up by the fabric; 0 is none.",
        "0",
        choices=("0", "1", "3"),
    ),
    _flag("generate_node_acls", "0", "Demo mode: let every initiator in, with or without an ACL."),
    _flag("login_keys_workaround", "1", "Answer login keys in the order some old initiators insist on."),
    _number("login_timeout", "15", 5, 30, "Seconds a login may take."),
    _number("netif_timeout", "2", 2, 15, "Seconds until a failed network interface counts as down."),
    _flag(
        "prod_mode_write_protect",
        "0",
        "Without demo mode: initiators may only read, whatever their ACL says.",
    ),
    # SRP targets
    _number(
        "srp_max_rdma_size", "65536", 512, U32, "Largest remote DMA transfer of an SRP target, in bytes."
    ),
    _number("srp_max_rsp_size", "256", 0, U32, "Largest SRP response, in bytes."),
    _number("srp_sq_size", "4096", 0, U32, "Entries of the send queue of an SRP target."),
    _flag("t10_pi", "0", "Pass T10 protection information to initiators."),
    _flag("tpg_enabled_sendtargets", "1", "Discovery leaves this portal group out while it is disabled."),
    _flag("use_srq", "0", "SRP targets: share one receive queue among sessions."),
)

_DIGESTS = ("CRC32C", "None")

TPG_PARAMETERS = _table(
    _text(
        "AuthMethod",
        "CHAP,None",
        "Authentication methods offered; follows the attribute authentication.",
        ("CHAP", "None"),
    ),
    _text("DataDigest", "CRC32C,None", "Checksums offered for the data of a PDU.", _DIGESTS),
    _yesno("DataPDUInOrder", "Yes", "Data PDUs of a sequence arrive in the order of their offsets."),
    _yesno("DataSequenceInOrder", "Yes", "Sequences of a transfer arrive in the order of their offsets."),
    _number(
        "DefaultTime2Retain", "20", 0, 3600, "Seconds the tasks of a lost connection are kept after the wait."
    ),
    _number("DefaultTime2Wait", "2", 0, 3600, "Seconds to wait before a lost connection is taken up again."),
    _number("ErrorRecoveryLevel", "0", 0, 2, "Highest error recovery: 0 session, 1 digest, 2 connection."),
    _number("FirstBurstLength", "65536", 512, 16777215, "Most unsolicited bytes of one command."),
    _text("HeaderDigest", "CRC32C,None", "Checksums offered for the header of a PDU.", _DIGESTS),
    _text("IFMarkInt", "Reject", "Obsolete since RFC 7143: marker interval."),
    _yesno("IFMarker", "No", "Obsolete since RFC 7143: markers from the initiator."),
    _yesno("ImmediateData", "Yes", "A write command may carry data itself."),
    _yesno(
        "InitialR2T", "Yes", "The initiator waits to be asked before it sends data; No allows a first burst."
    ),
    _number(
        "MaxBurstLength", "262144", 512, 16777215, "Most bytes of one Data-In or solicited Data-Out sequence."
    ),
    _number("MaxConnections", "1", 1, 65535, "Most connections in one session."),
    _number("MaxOutstandingR2T", "1", 1, 65535, "Most requests for data open for one command."),
    _number(
        "MaxRecvDataSegmentLength", "8192", 512, 16777215, "Most data bytes of one PDU that the target takes."
    ),
    _number(
        "MaxXmitDataSegmentLength",
        "262144",
        512,
        16777215,
        "Most data bytes of one PDU that the target sends.",
    ),
    _text("OFMarkInt", "Reject", "Obsolete since RFC 7143: marker interval."),
    _yesno("OFMarker", "No", "Obsolete since RFC 7143: markers to the initiator."),
    _text("TargetAlias", "LIO Target", "A name for people; initiators may show it. At most 255 bytes."),
)

NODE_ACL_ATTRIBUTES = _table(
    _number(
        "authentication", "-1", -1, 1, "Demand CHAP of this initiator: 0 no, 1 yes, -1 as its portal group."
    ),
    _number("dataout_timeout", "3", 2, 60, "Seconds to wait for data of a write before recovery."),
    _number(
        "dataout_timeout_retries",
        "5",
        1,
        15,
        "Recoveries of a write's data before the connection is given up.",
    ),
    _number("default_erl", "0", 0, 2, "Error recovery level offered by default."),
    _number("nopin_response_timeout", "30", 3, 60, "Seconds the initiator has to answer a NOP-In."),
    _number(
        "nopin_timeout",
        "15",
        0,
        60,
        "Seconds of silence before the target sends a NOP-In; 0 sends none, else 3 to 60.",
    ),
    _flag("random_datain_pdu_offsets", "0", "For tests of initiators: Data-In PDUs out of order."),
    _flag("random_datain_seq_offsets", "0", "For tests of initiators: Data-In sequences out of order."),
    _flag("random_r2t_offsets", "0", "For tests of initiators: data asked for out of order."),
)

NODE_ACL_PARAMETERS = _table(
    *(
        Attribute(key.name, "string", f"Negotiated in the session: {key.meaning}", writable=False)
        for key in TPG_PARAMETERS.values()
        if key.name
        in {
            "DataPDUInOrder",
            "DataSequenceInOrder",
            "DefaultTime2Retain",
            "DefaultTime2Wait",
            "ErrorRecoveryLevel",
            "FirstBurstLength",
            "ImmediateData",
            "InitialR2T",
            "MaxBurstLength",
            "MaxConnections",
            "MaxOutstandingR2T",
        }
    )
)

CHAP_MAX = 255
"""Most bytes of a CHAP name or secret: the kernel keeps 256 with the NUL and silently cuts what is longer."""
CHAP_SHORT = 12
"""RFC 7143 section 12.1.3 wants secrets of at least 96 bits; many initiators refuse shorter ones."""

AUTH = _table(
    Attribute(
        "mutual_password",
        "string",
        "Secret with which the target proves itself to the initiator.",
        secret=True,
    ),
    _text("mutual_userid", "", "Name by which the target proves itself to the initiator."),
    Attribute("password", "string", "Secret that the initiator must know.", secret=True),
    _text("userid", "", "Name that the initiator must give."),
)

DISCOVERY_AUTH = _table(
    _flag("enable", "False", "Demand CHAP for discovery too."),
    *AUTH.values(),
)

LUN_ALUA = _table(
    _text("alua_tg_pt_gp_name", "default_tg_pt_gp", "The ALUA group that this LUN's port is in.")
)

TABLES: dict[tuple[str, str], dict[str, Attribute]] = {
    ("storage_object", "attribute"): STORAGE_OBJECT_ATTRIBUTES,
    ("port_group", "alua"): PORT_GROUP_ALUA,
    ("fabric", "discovery_auth"): DISCOVERY_AUTH,
    ("target", "parameter"): TARGET_PARAMETERS,
    ("tpg", "attribute"): TPG_ATTRIBUTES,
    ("tpg", "parameter"): TPG_PARAMETERS,
    ("tpg", "auth"): AUTH,
    ("node_acl", "attribute"): NODE_ACL_ATTRIBUTES,
    ("node_acl", "parameter"): NODE_ACL_PARAMETERS,
    ("node_acl", "auth"): AUTH,
    ("lun", "alua"): LUN_ALUA,
}
"""(kind of object, group) -> name -> Attribute."""


def find(owner: str, group: str, name: str) -> Attribute | None:
    """The table's entry, or None for what only a newer kernel knows."""
    return TABLES.get((owner, group), {}).get(name)
