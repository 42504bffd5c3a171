"""The table of fabrics is rtslib's."""

from __future__ import annotations

import pytest
from rtslib.fabric import fabric_modules

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
