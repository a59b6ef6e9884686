"""The version of this package, which its native part must have too."""

__version__ = "0.1.0"


def check(found: str) -> None:
    """Refuse a native part of another version."""
    if found != __version__:
        raise ImportError(
            f"blindbox_attestation {__version__} found a native part of version {found}: install it again"
        )
