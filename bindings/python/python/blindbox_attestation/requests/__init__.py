"""`requests` over an attested session, with the interface of the original client, `blindbox.requests`.

    from blindbox_attestation.requests import SecureSession

    with SecureSession("https://my-app.example", "cce-policy.base64", "sharedneu.neu.attest.azure.net") as session:
        print(session.post("/generate", json={"prompt": "hi"}).json())

A `SecureSession` is a `requests.Session` whose only adapter is the attested one: requests to other origins, redirects included, are
refused before anything is sent, and nothing is read from the environment.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import requests as _requests

from .._errors import argument, boolean
from .._given import NOT_GIVEN, given
from .._policy import HostData, Policy
from .._session import Session
from .._settings import Settings
from .._verifier import Verifier, verify_connection
from . import errors
from ._adapter import Adapter
from .errors import (
    AttestationException,
    DebugMode,
    FalseAttestationReport,
    InvalidEnclaveCode,
    MAATokenNotFound,
    NonCompliantUvm,
    NotAnEnclaveError,
    WrongAttester,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "AttestationException",
    "DebugMode",
    "FalseAttestationReport",
    "InvalidEnclaveCode",
    "MAATokenNotFound",
    "NonCompliantUvm",
    "NotAnEnclaveError",
    "PlainHttpWarning",
    "SecureOptions",
    "SecureSession",
    "UnboundChannelWarning",
    "WrongAttester",
    "connect",
    "delete",
    "errors",
    "get",
    "head",
    "options",
    "patch",
    "post",
    "put",
]


class UnboundChannelWarning(UserWarning):
    """The evidence does not name the TLS key of the connection: another guest's evidence could be passed on."""


class PlainHttpWarning(UserWarning):
    """Requests and responses are not encrypted: anyone on the path can read and change them."""


class SecureOptions(Settings, total=False):
    """The options of a `SecureSession`, which describes them: its own, and settings of a verifier."""

    policy: Policy
    minimum_svn: int
    maa_policy_hash: str
    uvm_issuer: str
    allow_unbound: bool
    allow_plain_http: bool
    allow_test_attester: bool
    verifier: Verifier


class SecureSession(_requests.Session):
    """A `requests.Session` with one attested peer."""

    def __init__(
        self,
        addr: str,
        cce_file: "str | os.PathLike[str] | None" = None,
        attestation_endpoint: str | None = None,
        debug_mode: bool = False,
        *,
        policy: Policy = NOT_GIVEN,
        minimum_svn: int = NOT_GIVEN,
        maa_policy_hash: str = NOT_GIVEN,
        uvm_issuer: str = NOT_GIVEN,
        allow_unbound: bool = False,
        allow_plain_http: bool = False,
        allow_test_attester: bool = False,
        verifier: Verifier = NOT_GIVEN,
        **settings: Unpack[Settings],
    ) -> None:
        """Attest the peer behind `addr`, such as `https://my-app.example:8443`, and open a session with it.

        Either `policy`, or `cce_file` (the CCE policy in base64, as it is deployed) and `attestation_endpoint` (the MAA instance
        that is trusted). `minimum_svn` is the minimum security version of the utility VM, 101 unless it is given. An agent that
        attests any data, like the one of the original BlindBox, needs `allow_unbound=True`, and an address in clear text
        `allow_plain_http=True`: neither is ever a fallback, and each warns. `settings` are those of `Verifier`.

        Requests go to paths below that of `addr`.
        """
        allow_unbound = boolean("allow_unbound", allow_unbound)
        allow_plain_http = boolean("allow_plain_http", allow_plain_http)
        allow_test_attester = boolean("allow_test_attester", allow_test_attester)
        if debug_mode:
            raise argument(
                "debug_mode=True skipped attestation in the original client; there is no such mode. For tests, run "
                "`blindbox-attest emulate`; for a debug guest of your own, use a policy that has allow.debug, which still checks "
                "everything else"
            )
        options = given({"policy": policy, "verifier": verifier})
        required = given({"minimum_svn": minimum_svn, "maa_policy_hash": maa_policy_hash, "uvm_issuer": uvm_issuer})
        if "policy" not in options:
            policy = _policy(
                cce_file,
                attestation_endpoint,
                {"minimum_svn": 101, **required},
                allow_unbound=allow_unbound,
                allow_plain_http=allow_plain_http,
                allow_test_attester=allow_test_attester,
            )
        elif (
            cce_file is not None
            or attestation_endpoint is not None
            or required
            or allow_unbound
            or allow_plain_http
            or allow_test_attester
        ):
            raise argument("expected either policy, or cce_file with attestation_endpoint and what they require and allow")
        # A policy of the caller's is warned about like the options.
        open_ends = {lint.code for lint in policy.lint()}
        if allow_unbound or "channel-not-bound" in open_ends:
            warnings.warn("the channel is not bound to the evidence (allow_unbound=True, or the policy)", UnboundChannelWarning, 2)
        if allow_plain_http or "plain-http-allowed" in open_ends:
            warnings.warn("requests are not encrypted (allow_plain_http=True, or the policy)", PlainHttpWarning, 2)
        if "verifier" in options and settings:
            raise argument("expected either verifier or its settings")
        #: The attested session.
        self.session: Session = (
            verifier.connect(addr, policy) if "verifier" in options else verify_connection(addr, policy, **settings)
        )
        self.base_url = addr
        self._ready = False
        super().__init__()
        self._adapter = Adapter(self.session._native)
        self.adapters.clear()
        self._ready = True

    def mount(self, prefix: str | bytes, adapter: Any) -> None:
        """Refuse: another adapter would send requests around the attested connection."""
        if getattr(self, "_ready", True):
            raise argument("expected no other adapter: it would send requests around the attested connection")

    def get_adapter(self, url: Any) -> Adapter:
        """Return the attested adapter. It refuses URLs of other origins before anything is sent."""
        return self._adapter

    @property
    def trust_env(self) -> bool:
        """Whether settings are read from the environment: never."""
        return False

    @trust_env.setter
    def trust_env(self, value: bool) -> None:
        if value and getattr(self, "_ready", False):
            raise argument("expected no trust_env: proxies and credentials of the environment are not for an attested peer")

    def request(self, method: Any, url: Any = "", *arguments: Any, **options: Any) -> _requests.Response:
        """Send a request. `url` is a path below the address, as in a `Session`, or a URL on its origin."""
        return super().request(method, _below(self.base_url, url), *arguments, **options)

    def get(self, url: Any = "", **options: Any) -> _requests.Response:
        """Send a GET request."""
        return super().get(url, **options)

    def options(self, url: Any = "", **options: Any) -> _requests.Response:
        """Send an OPTIONS request."""
        return super().options(url, **options)

    def head(self, url: Any = "", **options: Any) -> _requests.Response:
        """Send a HEAD request."""
        return super().head(url, **options)

    def post(self, url: Any = "", data: Any = None, json: Any = None, **options: Any) -> _requests.Response:
        """Send a POST request."""
        return super().post(url, data, json, **options)

    def put(self, url: Any = "", data: Any = None, **options: Any) -> _requests.Response:
        """Send a PUT request."""
        return super().put(url, data, **options)

    def patch(self, url: Any = "", data: Any = None, **options: Any) -> _requests.Response:
        """Send a PATCH request."""
        return super().patch(url, data, **options)

    def delete(self, url: Any = "", **options: Any) -> _requests.Response:
        """Send a DELETE request."""
        return super().delete(url, **options)

    def close(self) -> None:
        """Close the session."""
        super().close()
        self.session.close()


def _policy(
    cce_file: "str | os.PathLike[str] | None",
    attestation_endpoint: str | None,
    required: dict[str, Any],
    *,
    allow_unbound: bool,
    allow_plain_http: bool,
    allow_test_attester: bool,
) -> Policy:
    """The policy that the arguments of the original client state."""
    if not cce_file:
        raise argument("expected cce_file, the path of the CCE policy in base64, or policy")
    if not attestation_endpoint:
        raise argument(
            "expected attestation_endpoint, the MAA instance that you trust, such as sharedneu.neu.attest.azure.net. The original "
            "client had sharedeus2.eus2.test.attest.azure.net, a test instance: it also needs allow_test_attester=True"
        )
    issuer = attestation_endpoint if "://" in attestation_endpoint else f"https://{attestation_endpoint}"
    allow = {"unbound-channel": allow_unbound, "plain-http": allow_plain_http}
    allowed = {name: True for name, is_allowed in allow.items() if is_allowed}
    if allowed:
        required = {**required, "allow": allowed}
    return Policy.confidential_container(
        host_data=HostData.from_cce_policy_file(cce_file),
        maa=issuer,
        binding="none" if allow_unbound else "own-key",
        allow_test_attester=allow_test_attester,
        **required,
    )


def connect(
    addr: str,
    cce_file: "str | os.PathLike[str] | None" = None,
    attestation_endpoint: str | None = None,
    debug_mode: bool = False,
    **options: Unpack[SecureOptions],
) -> SecureSession:
    """Return a `SecureSession`."""
    return SecureSession(addr, cce_file, attestation_endpoint, debug_mode, **options)


def _below(base: str, url: str) -> str:
    """A URL: a path is one below the base, whether or not it begins with a slash. The core refuses what is not below it."""
    is_path = url.startswith("/") and not url.startswith("//")
    return urljoin(base.rstrip("/") + "/", f".{url}" if is_path else url)


def _once(
    method: str, url: str, cce_policy: Any, attestation_endpoint: str | None, options: dict[str, Any]
) -> _requests.Response:
    """Attest the peer behind a URL, and send one request to it."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    settings = {name: options.pop(name) for name in SecureOptions.__optional_keys__ & options.keys()}
    with SecureSession(f"{parts.scheme}://{parts.netloc}", cce_policy, attestation_endpoint, **settings) as session:
        response = session.request(method, target, **options)
        # The session ends here, and a body that is left ends with it.
        response.content
        return response


def get(url: str, cce_policy: Any = None, attestation_endpoint: str | None = None, **options: Any) -> _requests.Response:
    """Attest the peer behind a URL, and send a GET request to it."""
    return _once("GET", url, cce_policy, attestation_endpoint, options)


def options(
    url: str, cce_policy: Any = None, attestation_endpoint: str | None = None, **options: Any
) -> _requests.Response:
    """Attest the peer behind a URL, and send an OPTIONS request to it."""
    return _once("OPTIONS", url, cce_policy, attestation_endpoint, options)


def head(
    url: str, cce_policy: Any = None, attestation_endpoint: str | None = None, **options: Any
) -> _requests.Response:
    """Attest the peer behind a URL, and send a HEAD request to it."""
    return _once("HEAD", url, cce_policy, attestation_endpoint, options)


def post(
    url: str,
    cce_policy: Any = None,
    attestation_endpoint: str | None = None,
    data: Any = None,
    json: Any = None,
    **options: Any,
) -> _requests.Response:
    """Attest the peer behind a URL, and send a POST request to it."""
    return _once("POST", url, cce_policy, attestation_endpoint, {"data": data, "json": json, **options})


def put(
    url: str, cce_policy: Any = None, attestation_endpoint: str | None = None, data: Any = None, **options: Any
) -> _requests.Response:
    """Attest the peer behind a URL, and send a PUT request to it."""
    return _once("PUT", url, cce_policy, attestation_endpoint, {"data": data, **options})


def patch(
    url: str, cce_policy: Any = None, attestation_endpoint: str | None = None, data: Any = None, **options: Any
) -> _requests.Response:
    """Attest the peer behind a URL, and send a PATCH request to it."""
    return _once("PATCH", url, cce_policy, attestation_endpoint, {"data": data, **options})


def delete(
    url: str, cce_policy: Any = None, attestation_endpoint: str | None = None, **options: Any
) -> _requests.Response:
    """Attest the peer behind a URL, and send a DELETE request to it."""
    return _once("DELETE", url, cce_policy, attestation_endpoint, options)
