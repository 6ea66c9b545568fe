"""What is done from a page: in whose name, and that the pages then show what has become of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mainspring.admin import acting
from mainspring.web.pages.glance import glance_of
from mainspring.web.pages.rendering import Page

__all__ = ["in_the_name_of"]


@contextmanager
def in_the_name_of(page: Page) -> Iterator[None]:
    """Whatever is done inside is told to the audit log as done by whoever asks."""
    try:
        with acting(page.identity.name):
            yield
    finally:
        # What failed may have been done in part.
        glance_of(page.request).forget()
