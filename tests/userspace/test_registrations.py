"""Persistent registrations end with the access they were made through, as in LIO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.initiator import Initiator
from tests.userspace.rig import IQN, Rig
from tests.userspace.served import DEVICE, SERIAL, TPG, Served

I1 = "iqn.2003-01.org.test:i1"
I2 = "iqn.2003-01.org.test:i2"
KEY_1, KEY_2 = b"key of 1", b"key of 2"
EXCLUSIVE_ACCESS = 3
REGISTRANTS_ONLY = 5
ALL_REGISTRANTS = 7
APTPL = 1
REGISTER, RESERVE = 0, 1
RESERVATIONS_RELEASED = 0x2A04
RESERVATION_CONFLICT = 0x18
NO_HOLDER = "No SPC-3 Reservation holder\n"


@pytest.fixture
def served(rig: Rig, tmp_path: Path) -> Served:
    served = Served(rig)
    served.write(f"{TPG}/attrib/authentication", "0")
    rig.call(lambda: rig.target.set_dbroot(str(tmp_path)))
    return served


def login(served: Served, name: str, isid: int = 1) -> Initiator:
    initiator = Initiator(served.address, target=IQN, name=name, isid=b"\x80\0\0\0\0" + bytes([isid]))
    initiator.ready()
    return initiator


def persist(initiator: Initiator, action: int, key: bytes, new: bytes, kind: int = 0, flags: int = 0) -> None:
    data = key + new + bytes(4) + bytes([flags, 0, 0, 0])
    assert initiator.cmd(bytes([0x5F, action, kind, 0, 0, 0, 0, 0, 24, 0]), data_out=data).status == 0


def register(initiator: Initiator, key: bytes, flags: int = 0) -> None:
    persist(initiator, REGISTER, bytes(8), key, flags=flags)


def reserve(initiator: Initiator, key: bytes, kind: int) -> None:
    persist(initiator, RESERVE, key, bytes(8), kind)


def registered(served: Served) -> list[str]:
    """The initiator ports that have a registration."""
    lines = served.read(f"{DEVICE}/pr/res_pr_registered_i_pts").splitlines()[1:]
    return [line.split()[2].partition(",")[0] for line in lines if line != "None"]


def holder(served: Served) -> str:
    return served.read(f"{DEVICE}/pr/res_holder")


def unmap(served: Served) -> None:
    served.do("unlink", f"{TPG}/acls/{I1}/lun_0/link")


def delete_acl(served: Served) -> None:
    served.do("unlink", f"{TPG}/acls/{I1}/lun_0/link")
    served.do("rmdir", f"{TPG}/acls/{I1}/lun_0")
    served.do("rmdir", f"{TPG}/acls/{I1}")


@pytest.mark.parametrize("lose", [unmap, delete_acl])
@pytest.mark.parametrize("kind", [EXCLUSIVE_ACCESS, REGISTRANTS_ONLY, ALL_REGISTRANTS])
def test_an_initiators_access_goes_and_with_it_registration_and_reservation(
    served: Served, kind: int, lose: Callable[[Served], None]
) -> None:
    served.acl(I1)
    served.acl(I2)
    with login(served, I1) as one, login(served, I2) as two:
        register(one, KEY_1)
        register(two, KEY_2)
        reserve(one, KEY_1, kind)
        generation = served.read(f"{DEVICE}/pr/res_pr_generation")
        lose(served)
        assert registered(served) == [I2]
        assert served.read(f"{DEVICE}/pr/res_pr_generation") == generation
        reply = two.cmd(bytes(6))
        # Who is left holds a reservation of all registrants.
        assert holder(served) == NO_HOLDER if kind != ALL_REGISTRANTS else I2 in holder(served)
        assert (reply.asc if reply.status else 0) == (kind == REGISTRANTS_ONLY and RESERVATIONS_RELEASED)
        assert two.write(0, bytes(512)).status == 0


def test_one_that_does_not_hold_the_reservation_leaves_it(served: Served) -> None:
    served.acl(I1)
    served.acl(I2)
    with login(served, I1) as one, login(served, I2) as two:
        register(one, KEY_1)
        register(two, KEY_2)
        reserve(two, KEY_2, REGISTRANTS_ONLY)
        unmap(served)
        assert registered(served) == [I2]
        assert I2 in holder(served)
        assert two.cmd(bytes(6)).status == 0, "nothing to hear of"
        served.do("symlink", f"{TPG}/lun/lun_0", f"{TPG}/acls/{I1}/lun_0/link")
        one.ready()
        assert one.write(0, bytes(512)).status == RESERVATION_CONFLICT


def test_all_ports_of_the_initiator_and_of_nobody_else(served: Served) -> None:
    served.acl(I1)
    served.acl(I2)
    for isid in (1, 2):
        with login(served, I1, isid) as one:
            register(one, KEY_1)
            one.logout()
    with login(served, I2) as two:
        register(two, KEY_2)
        two.logout()
    assert registered(served) == [I1, I1, I2]
    unmap(served)
    assert registered(served) == [I2]


def test_the_lun_goes(served: Served) -> None:
    """Registrations made through it go, those through another portal group stay."""
    served.acl(I1)
    served.write(f"{TPG}/attrib/generate_node_acls", "1")
    other = TPG.replace("tpgt_1", "tpgt_2")
    for path in (other, f"{other}/lun/lun_0"):
        served.do("mkdir", path)
    served.do("symlink", DEVICE, f"{other}/lun/lun_0/link")
    with login(served, I1) as one, login(served, I2) as two:
        register(one, KEY_1)
        register(two, KEY_2)
        reserve(two, KEY_2, EXCLUSIVE_ACCESS)
        served.do("unlink", f"{other}/lun/lun_0/link")
        assert registered(served) == [I1, I2]
        served.do("unlink", f"{TPG}/lun/lun_0/link")
        assert registered(served) == []
        assert holder(served) == NO_HOLDER


def test_a_guest_keeps_what_it_has_when_its_session_ends(served: Served) -> None:
    """The kernel keeps what demo mode makes of an initiator (cache_dynamic_acls)."""
    served.write(f"{TPG}/attrib/generate_node_acls", "1")
    with login(served, I1) as one:
        register(one, KEY_1)
        one.logout()
    assert registered(served) == [I1]


def test_what_is_kept_for_a_power_loss_outlives_the_configuration(served: Served, tmp_path: Path) -> None:
    """The file is written anew by the next command that changes registrations, not by what takes the
    configuration apart, as it is when a target stops."""
    kept = tmp_path / "pr" / f"aptpl_{SERIAL}"
    served.acl(I1)
    served.acl(I2)
    with login(served, I1) as one, login(served, I2) as two:
        register(one, KEY_1, APTPL)
        register(two, KEY_2, APTPL)
        before = kept.read_text()
        assert before.count("PR_REG_START") == 2
        unmap(served)
        assert kept.read_text() == before
        persist(two, REGISTER, KEY_2, KEY_1, flags=APTPL)
        after = kept.read_text()
        assert after.count("PR_REG_START") == 1
        assert f"initiator_node={I2}" in after


def test_what_was_kept_comes_back_at_a_lun_with_another_port_number(served: Served, tmp_path: Path) -> None:
    """A LUN that is linked again has the device's next relative target port identifier."""
    lun = f"{TPG}/lun/lun_0"
    served.acl(I1)
    served.acl(I2)
    with login(served, I1) as one:
        register(one, KEY_1, APTPL)
        reserve(one, KEY_1, EXCLUSIVE_ACCESS)
        one.logout()
    kept = (tmp_path / "pr" / f"aptpl_{SERIAL}").read_text()
    for name in (I1, I2):
        served.do("unlink", f"{TPG}/acls/{name}/lun_0/link")
    served.do("unlink", f"{lun}/link")
    block = ",".join(line for line in kept.splitlines() if "=" in line)
    served.write(f"{DEVICE}/pr/res_aptpl_metadata", block)
    served.do("symlink", DEVICE, f"{lun}/link")
    for name in (I1, I2):
        served.do("symlink", lun, f"{TPG}/acls/{name}/lun_0/link")
    assert "port_rtpi=1" in kept
    assert "Relative Port Identifier Tag: 2 " in served.read(f"{DEVICE}/pr/res_pr_holder_tg_port")
    with login(served, I1) as one, login(served, I2) as two:
        assert one.write(0, bytes(512)).status == 0
        assert two.read(0, 1).status == RESERVATION_CONFLICT
