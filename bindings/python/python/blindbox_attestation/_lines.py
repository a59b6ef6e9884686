"""Lines of text that comes in pieces."""

from __future__ import annotations

import codecs
import re


class Lines:
    """Splits text into lines at `\\n`, `\\r\\n` and `\\r`, across the borders of its pieces."""

    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._rest = ""

    def add(self, piece: bytes, final: bool = False) -> list[str]:
        """Take a piece, and return the lines that are complete."""
        text = self._rest + self._decoder.decode(piece, final)
        # The other half of a line end may come with the next piece.
        held = "\r" if text.endswith("\r") and not final else ""
        lines = re.split(r"\r\n|\n|\r", text[: len(text) - len(held)])
        self._rest = lines.pop() + held
        if final and self._rest:
            lines.append(self._rest)
            self._rest = ""
        return lines
