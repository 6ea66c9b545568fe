"""Every metric that there is, is told of in docs/observability.md, and none that there is not."""

from __future__ import annotations

import re
from pathlib import Path

from opentelemetry import metrics

from mainspring import Mainspring
from mainspring.observe.depths import tell_depths
from mainspring.observe.instruments import Instruments
from mainspring.observe.spans import MOST_CARRIED
from mainspring.web.api.metrics import SECONDS
from mainspring.web.api.metrics.families import MOST, Families
from mainspring.web.api.metrics.scrape import Scraped

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"
TEXT = PAGE.read_text(encoding="utf-8")
METRICS = TEXT.partition("## Metrics")[2]
TABLED = set(re.findall(r"^\| `([\w.]+)", METRICS, re.MULTILINE))


class Noting(metrics.NoOpMeter):
    """A meter that notes what it is asked to make."""

    def __init__(self) -> None:
        super().__init__("noting")
        self.names: set[str] = set()

    def _register_instrument(self, name: str, *about: object, **more: object) -> object:  # type: ignore[override]
        self.names.add(name)
        return super()._register_instrument(name, *about, **more)  # type: ignore[arg-type]


def test_the_metrics_of_opentelemetry() -> None:
    meter = Noting()
    Instruments(meter)
    tell_depths(meter, Mainspring("sqlite://"))
    assert {name for name in TABLED if "." in name} == meter.names


def test_the_metrics_of_prometheus() -> None:
    families = Families(Scraped([], [], {})).collect()
    names = {family.name + {"counter": "_total", "info": "_info"}.get(family.type, "") for family in families}
    assert {name for name in TABLED if "." not in name} == names


def test_the_bounds() -> None:
    assert f"up to {MOST_CARRIED:,} characters" in TEXT
    assert (MOST, SECONDS) == (100, 5)
    assert "for five seconds" in TEXT
    assert "the first hundred queues and tasks" in TEXT
