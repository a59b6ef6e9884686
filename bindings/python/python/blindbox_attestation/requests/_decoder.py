"""Compressed bodies of responses."""

from __future__ import annotations

import zlib
from typing import Any, Iterator

from requests.exceptions import ContentDecodingError


class Decoder:
    """Decodes a body of gzip (RFC 1952: one member or more) or deflate (RFC 9110 section 8.4.1.2: one zlib stream)."""

    #: The names of the encodings.
    ENCODINGS = ("gzip", "x-gzip", "deflate")
    #: The size of the largest piece that is given, in bytes: a few bytes may decode to a thousand times as many.
    LIMIT = 64 << 10

    def __init__(self, encoding: str) -> None:
        self._is_gzip = encoding != "deflate"
        self._member: Any = None
        self._began = False

    def add(self, piece: bytes) -> Iterator[bytes]:
        """Take a piece, and give what it decodes to, in pieces of at most `LIMIT` bytes."""
        left = False
        while piece or left:
            if self._member is None:
                if self._began and not self._is_gzip:
                    raise ContentDecodingError("expected the end of the body after its compressed stream, found more")
                self._member = zlib.decompressobj((16 if self._is_gzip else 0) + zlib.MAX_WBITS)
                self._began = True
            try:
                decoded = self._member.decompress(piece, self.LIMIT)
            except zlib.error as error:
                raise ContentDecodingError(error) from None
            # What was read may decode to more, also where nothing is left to read.
            left = len(decoded) == self.LIMIT and not self._member.eof
            piece = self._member.unconsumed_tail
            if self._member.eof:
                # Another member may follow.
                piece = self._member.unused_data
                self._member = None
            if decoded:
                yield decoded

    def finish(self) -> None:
        """Check that the body is complete. An empty one is, such as that of a response to HEAD."""
        if self._member is not None:
            raise ContentDecodingError("the compressed body is not complete")
