"""Writes the stub of the exceptions from the core's list of codes."""

import pathlib

from blindbox_attestation import _errors, _native

PATH = pathlib.Path(__file__).resolve().parents[1] / "python/blindbox_attestation/_errors.pyi"

HEAD = '''\
# Written by tests/stub.py from the core's list of codes.
from typing import Any, NamedTuple, Optional

class ErrorCode(NamedTuple):
    code: str
    number: int
    category: str
    retryable: bool
    name: str

def codes() -> list[ErrorCode]: ...

class Check(dict[str, Any]):
    @property
    def name(self) -> str: ...
    @property
    def verdict(self) -> str: ...
    @property
    def expected(self) -> str: ...
    @property
    def actual(self) -> str: ...
    @property
    def why(self) -> Optional[str]: ...

class AttestationError(Exception):
    code: str
    number: int
    category: str
    retryable: bool
    request_sent: bool
    appraisal: Optional[list[Check]]
    message: str
    def __init__(self, message: str = "", **facts: Any) -> None: ...
    def _facts(self) -> dict[str, Any]: ...

class Rejected(AttestationError): ...
class Untrusted(AttestationError): ...
class Unavailable(AttestationError): ...
class Misconfigured(AttestationError): ...
class Internal(AttestationError): ...

'''

TAIL = '''
CODES: dict[str, type[AttestationError]]
CATEGORIES: dict[str, type[AttestationError]]

def make(
    code: str,
    number: int,
    category: str,
    retryable: bool,
    request_sent: bool,
    message: str,
    appraisal: Optional[str],
) -> AttestationError: ...
def _restore(code: str, category: str, message: str, facts: dict[str, Any]) -> AttestationError: ...
def argument(reason: str) -> AttestationError: ...
def boolean(name: str, value: object) -> bool: ...
'''


def text():
    """The stub."""
    names = ["AttestationError", "Check", "ErrorCode", "codes", *(kind.__name__ for kind in _errors.CATEGORIES.values())]
    lines = []
    for code, _, category, _, name in _native.codes():
        bases = [_errors.CATEGORIES[category].__name__]
        if name == bases[0]:
            continue
        if code in _errors.BUILTINS:
            bases.append(_errors.BUILTINS[code].__name__)
        names.append(name)
        lines.append(f"class {name}({', '.join(bases)}): ...\n")
    exported = "".join(f'    "{name}",\n' for name in sorted(names))
    return f"{HEAD}{''.join(lines)}\n__all__ = [\n{exported}]\n{TAIL}"


if __name__ == "__main__":
    PATH.write_text(text())
