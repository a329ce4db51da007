"""Medians, ratios and their spread, as a table and as JSON."""

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.speed.loads import Sample

LOOP_STEPS = 2_000_000


@dataclass(frozen=True)
class Noise:
    """The state of the machine at the beginning of a round.

    Attributes:
        loop_ms: time that a fixed loop took, which depends on the machine alone.
        load: load average of the last minute, which includes the benchmark itself.
    """

    loop_ms: float
    load: float

    @classmethod
    def now(cls) -> "Noise":
        began = time.perf_counter()
        for _ in range(LOOP_STEPS):
            pass
        return cls((time.perf_counter() - began) * 1000, os.getloadavg()[0])


@dataclass
class Result:
    """The samples of one row, a pair for each round.

    Attributes:
        latency: whether the ratio is of medians of latency instead of rates.
        problems: reasons why the row is invalid.
    """

    name: str
    title: str
    at_least: float | None
    aim: float | None
    latency: bool = False
    measured: list[Sample] = field(default_factory=list)
    reference: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, measured: Sample, reference: Sample) -> None:
        self.measured.append(measured)
        self.reference.append(reference)
        self.problems += filter(None, [measured.problem, reference.problem])

    def figure(self, sample: Sample) -> float:
        return sample.median_ms if self.latency else sample.rate

    @property
    def ratios(self) -> list[float]:
        """Return the ratio of each round."""
        return [
            self.figure(measured) / self.figure(reference)
            for measured, reference in zip(self.measured, self.reference, strict=True)
            if self.figure(reference)
        ]

    @property
    def ratio(self) -> float | None:
        """Return the median of the ratios; None if the row is invalid."""
        return statistics.median(self.ratios) if self.ratios and not self.problems else None

    @property
    def verdict(self) -> str:
        if self.ratio is None:
            return "INVALID" if self.problems else "not measured"
        sign = -1 if self.latency else 1
        for bound, word in (self.aim, "aim reached"), (self.at_least, "enough"):
            if bound is not None and sign * self.ratio >= sign * bound:
                return word
        return "below" if self.at_least is not None else ""

    def line(self) -> str:
        """Return the row of the table."""
        title = f"{self.title:58}"
        if self.ratio is None:
            return f"{title} {self.verdict}: {'; '.join(dict.fromkeys(self.problems))}"
        unit = "ms" if self.latency else "/s"
        low, high = min(self.ratios), max(self.ratios)
        return (
            f"{title} {self.median(self.measured):>9}{unit} {self.median(self.reference):>9}{unit}"
            f" {self.ratio:>6.2f}  {low:.2f}-{high:.2f}"
            f"  {shown(self.at_least):>5} {shown(self.aim):>5}  {self.verdict}"
        )

    def median(self, samples: Sequence[Sample]) -> str:
        value = statistics.median(map(self.figure, samples))
        return f"{value:.2f}" if self.latency or value < 10 else f"{value:,.0f}"

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "ratios": self.ratios,
            "ratio": self.ratio,
            "verdict": self.verdict,
        }


HEADINGS = (
    f"{'':58} {'median':>11} {'reference':>11} {'ratio':>6}  {'spread':9}  {'least':>5} {'aim':>5}"
)


def shown(bound: float | None) -> str:
    return "" if bound is None else f"{bound:g}"


def table(results: Sequence[Result]) -> str:
    return "\n".join([HEADINGS, *(result.line() for result in results)])


def spread(values: Sequence[float]) -> str:
    """Return the median, and how far the extremes are from it."""
    middle = statistics.median(values)
    low, high = min(values) / middle - 1, max(values) / middle - 1
    return f"{middle:,.0f} ({low:+.0%} to {high:+.0%})"


def noise(noises: Sequence[Noise], floor: Sequence[float]) -> str:
    """Describe how steady the machine was. floor: the rates of the floor in all rounds."""
    loops, loads = [each.loop_ms for each in noises], [each.load for each in noises]
    lines = [
        f"A fixed loop took {spread(loops)} ms; the load was {min(loads):.1f} to {max(loads):.1f}."
    ]
    if floor:
        lines.append(f"The floor itself served {spread(floor)} requests a second.")
    return "\n".join(lines)


def document(
    results: Sequence[Result], noises: Sequence[Noise], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that was measured, for a file."""
    return {
        "options": dict(options),
        "cores": os.cpu_count(),
        "noise": [asdict(each) for each in noises],
        "rows": [result.as_json() for result in results],
    }
