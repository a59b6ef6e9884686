"""Client-side attestation of a BlindBox: an application in an AMD SEV-SNP confidential container or VM on Azure.

    import blindbox_attestation as blindbox

    policy = blindbox.Policy.from_file("policy.toml")
    with blindbox.verify_connection("https://my-app.example", policy) as session:
        print(session.post("/generate", json={"prompt": "hi"}).text)

A session exists only with a peer that has proven, over that same connection, that it is the expected code inside a genuine,
non-debug TEE. Every failure is an `AttestationError`. All checks are made by the Rust core.
"""

import atexit as _atexit
import os as _os

from . import _native, _version

__version__ = _version.__version__
_version.check(_native.__version__)

from . import _errors
from ._async_session import AsyncSession
from ._attestation import Attestation, Evidence, inspect, verify_recorded, verify_unappraised
from ._body import Headers
from ._errors import *  # noqa: F403
from ._log import enable_logging
from ._policy import HostData, Lint, Policy
from ._response import AsyncResponse, Response, StatusError
from ._session import Session
from ._settings import Settings
from ._verifier import Verifier, verify_connection, verify_connection_async

if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_native.note_fork)
_atexit.register(_native.end)

__all__ = [
    "AsyncResponse",
    "AsyncSession",
    "Attestation",
    "Evidence",
    "Headers",
    "HostData",
    "Lint",
    "Policy",
    "Response",
    "Session",
    "Settings",
    "StatusError",
    "Verifier",
    "enable_logging",
    "inspect",
    "verify_connection",
    "verify_connection_async",
    "verify_recorded",
    "verify_unappraised",
]
__all__ += _errors.__all__
