"""Sizes of memory."""

from __future__ import annotations

import pytest

from mainspring import InvalidOption
from mainspring.model.sizes import format_bytes, to_bytes


def test_sizes_are_read_and_written_in_powers_of_1024() -> None:
    assert [to_bytes(text) for text in ("512MB", "1.5 GiB", "2k", 4096)] == [536870912, 1610612736, 2048, 4096]
    assert [format_bytes(size) for size in (512, 536870912, 1610612736)] == ["512 B", "512 MB", "1.5 GB"]


@pytest.mark.parametrize("size", ["", "much", "-1MB", "0", "5 XB", 0, True, None])
def test_what_is_no_size_is_refused(size: object) -> None:
    with pytest.raises(InvalidOption, match="cannot be read"):
        to_bytes(size)  # type: ignore[arg-type]
