"""Compressed bodies of responses."""

from __future__ import annotations

import zlib
from typing import Any, Iterator

from requests.exceptions import ContentDecodingError


class Decoder:
    """Decodes a body of gzip (RFC 1952: one member or more) or deflate (RFC 9110 section 8.4.1.2: one zlib stream)."""

    #: The names of the encodings.
    ENCODINGS = ("gzip", "x-gzip", "deflate")

    def __init__(self, encoding: str) -> None:
        self._is_gzip = encoding != "deflate"
        self._member: Any = None
        self._began = False

    def add(self, piece: bytes) -> Iterator[bytes]:
        """Take a piece, and give what it decodes to."""
        while piece:
            if self._member is None:
                if self._began and not self._is_gzip:
                    raise ContentDecodingError("expected the end of the body after its compressed stream, found more")
                self._member = zlib.decompressobj((16 if self._is_gzip else 0) + zlib.MAX_WBITS)
                self._began = True
            try:
                decoded = self._member.decompress(piece)
            except zlib.error as error:
                raise ContentDecodingError(error) from None
            # Another member may follow.
            piece = self._member.unused_data
            if self._member.eof:
                self._member = None
            if decoded:
                yield decoded

    def finish(self) -> None:
        """Check that the body is complete. An empty one is, such as that of a response to HEAD."""
        if self._member is not None:
            raise ContentDecodingError("the compressed body is not complete")
