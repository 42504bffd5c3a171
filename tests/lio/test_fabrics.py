"""The table of fabrics is rtslib's."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtslib.fabric import fabric_modules
from rtslib.utils import RTSLibError

from isadmin.lio.fabrics import FABRICS, Fabric, fabric


def test_every_fabric_of_rtslib_and_no_other() -> None:
    assert [f.name for f in FABRICS] == list(fabric_modules)


@pytest.mark.parametrize("entry", FABRICS, ids=lambda f: f.name)
def test_same_facts(entry: Fabric) -> None:
    module = fabric_modules[entry.name]()
    assert entry.features == tuple(module.features)
    assert entry.wwn_types == tuple(module.wwn_types)
    assert entry.kernel_module == module.kernel_module
    assert module.path.endswith("/" + entry.dirname)
    assert (module.wwns is None) == (not entry.hardware)


@pytest.mark.parametrize("entry", FABRICS, ids=lambda f: f.name)
def test_names_in_configfs_are_rtslibs(entry: Fabric) -> None:
    module = fabric_modules[entry.name]()
    wwn = {"ib": "ib." + "0" * 32, "eui": "eui.0123456789abcdef"}.get(
        entry.wwn_types[0], "naa.5001405000000001"
    )
    assert entry.wwn_directory(wwn) == module.to_fabric_wwn(wwn)
    assert entry.wwn(entry.wwn_directory(wwn)) == module.from_fabric_wwn(module.to_fabric_wwn(wwn))


@pytest.mark.parametrize(
    ("wwn", "valid"),
    [
        ("iqn.2003-01.org.test:t1", True),
        ("iqn.2023-01.com.example:vm-storage", True),
        ("naa.5001405000000001", True),
        ("eui.0123456789abcdef", True),
        ("iqn.2003-01.org.te_st:t1", False),
        ("badname", False),
        ("iqn.2003-21.org.test:t1", False),
        ("naa.500140500000000", False),
    ],
)
def test_valid_names(wwn: str, valid: bool) -> None:
    assert fabric("iscsi").is_valid(wwn) is valid


@given(
    wwn=st.from_regex(r"iqn\.[0-9]{3,5}-[0-2][0-9]\.[a-zA-Z0-9._: \t-]{0,12}", fullmatch=True)
    | st.from_regex(r"(naa|eui|ib)\.[0-9a-gA-F]{15,17}", fullmatch=True)
    | st.text(max_size=20)
)
def test_names_are_rtslibs(wwn: str) -> None:
    """The short way for names as they are mostly written says what rtslib says."""
    normal = None
    with suppress(RTSLibError):
        normal = fabric_modules["iscsi"]().to_normalized_wwn(wwn)[0]
    assert fabric("iscsi").normalized(wwn) == normal
