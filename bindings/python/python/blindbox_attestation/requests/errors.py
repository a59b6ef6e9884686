"""The exceptions under the names of the original client, `blindbox.requests.errors`."""

from .. import AttestationError as AttestationException
from .. import DebugMode, FalseAttestationReport, InvalidEnclaveCode, NonCompliantUvm, WrongAttester
from .. import MaaTokenNotFound as MAATokenNotFound
from .. import NotAnEnclave as NotAnEnclaveError

__all__ = [
    "AttestationException",
    "DebugMode",
    "FalseAttestationReport",
    "InvalidEnclaveCode",
    "MAATokenNotFound",
    "NonCompliantUvm",
    "NotAnEnclaveError",
    "WrongAttester",
]
