"""Attributes of portal groups and of node ACLs: what each does to an initiator, or why it does nothing. Those
tested elsewhere are named with the test."""

from __future__ import annotations

import pytest

from isadmin.userspace.configfs.iscsi_attributes import ACL_ATTRIBUTES, TPG_ATTRIBUTES
from tests.initiator import Closed, Initiator
from tests.userspace import test_server, test_target
from tests.userspace.rig import IQN, Rig

NAMES = f"InitiatorName=iqn.2003-01.org.test:i\0TargetName={IQN}\0AuthMethod=None\0".encode()
ELSEWHERE = {
    "authentication": test_target.test_an_acl_decides_about_authentication_unless_it_leaves_it_to_the_group,
    "generate_node_acls": test_target.test_unknown_initiator,
    "demo_mode_write_protect": test_target.test_write_protection_while_logged_in,
    "prod_mode_write_protect": test_target.test_write_protection_while_logged_in,
    "demo_mode_discovery": test_target.test_targets_are_hidden_from_strangers_on_request,
    "dataout_timeout": test_server.test_write_data_that_never_comes,
    "dataout_timeout_retries": test_server.test_write_data_that_never_comes,
    "nopin_timeout": test_server.test_a_silent_initiator_is_pinged_and_then_dropped,
    "nopin_response_timeout": test_server.test_a_silent_initiator_is_pinged_and_then_dropped,
}
HERE = {"default_cmdsn_depth", "login_timeout", "tpg_enabled_sendtargets"}
WITHOUT = {
    "cache_dynamic_acls": "keeps a dynamic ACL after its session: here, what a guest may do is looked up "
    "at each login, and its registrations stay",
    "default_erl": "the level is negotiated from param/ErrorRecoveryLevel, and is 0",
    "fabric_prot_type": "no protection information is kept",
    "login_keys_workaround": "for initiators that do not answer keys the target proposes: it proposes none",
    "netif_timeout": "the kernel has not used it since it left Ethernet interfaces alone",
    "random_datain_pdu_offsets": "a debugging aid that the kernel does not use",
    "random_datain_seq_offsets": "a debugging aid that the kernel does not use",
    "random_r2t_offsets": "a debugging aid that the kernel does not use",
    "t10_pi": "no protection information is kept",
}


def test_each_is_tested_or_argued() -> None:
    known = TPG_ATTRIBUTES.keys() | ACL_ATTRIBUTES.keys()
    assert known == ELSEWHERE.keys() | HERE | WITHOUT.keys()
    assert len(known) == len(ELSEWHERE) + len(HERE) + len(WITHOUT)


@pytest.mark.parametrize("depth", [1, 16, 512])
def test_default_cmdsn_depth_is_the_command_window(rig: Rig, depth: int) -> None:
    tpg = rig.serve(rig.ramdisk(), default_cmdsn_depth=depth)
    with rig.login(tpg) as initiator:
        assert initiator.max_cmd_sn - initiator.cmd_sn + 1 == depth


@pytest.mark.parametrize("seconds", [5, 30])
def test_login_timeout(rig: Rig, seconds: int) -> None:
    """It counts from the moment at which the group is known."""
    tpg = rig.serve(rig.ramdisk(), login_timeout=seconds)
    with rig.login(tpg, login=False) as initiator:
        initiator.login_request(0, 0, NAMES, transit=False)
        (connection,) = rig.target.server.connections

        def ticks() -> int:
            left = 0
            while not connection.closed:
                connection.tick()
                left += 1
            return left

        assert rig.call(ticks) in {seconds - 1, seconds}
        with pytest.raises(Closed):
            initiator.receive()


@pytest.mark.parametrize("only_enabled", [1, 0])
def test_tpg_enabled_sendtargets(rig: Rig, only_enabled: int) -> None:
    tpg = rig.serve(rig.ramdisk(), tpg_enabled_sendtargets=only_enabled)
    other = rig.tpg(f"{IQN}-2", tpg_enabled_sendtargets=only_enabled)
    rig.portal(other)
    rig.listen()
    other.enabled = False
    with Initiator(rig.address(tpg)) as discovery:
        names = set(discovery.send_targets())
    assert names == ({IQN} if only_enabled else {IQN, f"{IQN}-2"})
