"""What can go wrong on a connection, each with the code that goes on the wire.

IscsiError
  ProtocolError        the peer broke RFC 7143: the PDU is rejected (reason), or the connection is closed
    DigestError        a header or data digest does not match
    DataError          write data that is not what was asked for: its command fails, no more
  LoginError           the login ends with a status class and detail
"""

from __future__ import annotations

from isadmin.userspace.iscsi.codes import LoginStatus, RejectReason


class IscsiError(Exception):
    """Any failure of the iSCSI layer."""


class ProtocolError(IscsiError):
    """The peer broke the protocol. `reason` is what a Reject PDU carries (RFC 7143 section 11.17.1)."""

    def __init__(self, what: str, reason: RejectReason = RejectReason.PROTOCOL_ERROR) -> None:
        super().__init__(what)
        self.reason = reason


class DigestError(ProtocolError):
    """A CRC32C that does not match; at ErrorRecoveryLevel 0 the connection ends."""

    def __init__(self, what: str) -> None:
        super().__init__(what, RejectReason.DATA_DIGEST_ERROR)


class DataError(ProtocolError):
    """Data-Out that does not fit its sequence (section 7.9): some of it must be missing. Without recovery the
    command ends with PROTOCOL SERVICE CRC ERROR, and the connection goes on."""


class LoginError(IscsiError):
    """The login fails with `status` (RFC 7143 section 11.13.5)."""

    def __init__(self, status: LoginStatus, what: str) -> None:
        super().__init__(what)
        self.status = status
