"""What a run puts out: text that grows, in numbered pieces."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

__all__ = ["OUTPUT_KEPT", "PIECES_KEPT", "PIECE_CHARACTERS", "Output", "in_pieces"]

OUTPUT_KEPT = 1024 * 1024
"""How many characters of a run's output are kept: the last ones."""
PIECES_KEPT = 10_000
"""In how many pieces at most. One is what a run puts out between two writes."""
PIECE_CHARACTERS = 8 * 1024
"""How large a piece may be."""


class Output:
    """Numbers a run's pieces, and knows which of them are kept."""

    __slots__ = ("_kept", "_sizes", "count")

    def __init__(self) -> None:
        self.count = 0
        """How many pieces there have been."""
        self._sizes: deque[int] = deque()
        self._kept = 0

    @property
    def kept_from(self) -> int:
        """The number of the first piece that is kept."""
        return self.count - len(self._sizes)

    def add(self, piece: str) -> None:
        """There is another piece."""
        self.count += 1
        self._sizes.append(len(piece))
        self._kept += len(piece)
        while len(self._sizes) > PIECES_KEPT or self._kept > OUTPUT_KEPT:
            self._kept -= self._sizes.popleft()


def in_pieces(text: str) -> Iterator[str]:
    """The text, in pieces that are not too large."""
    return (text[start : start + PIECE_CHARACTERS] for start in range(0, len(text), PIECE_CHARACTERS))
