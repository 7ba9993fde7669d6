"""Timing calls and printing figures, each beside its baseline and its target; shared by the benchmarks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median

__all__ = ["Sheet", "best", "typical_time"]


def typical_time(call: Callable[[], object], rounds: int) -> float:
    """Seconds that a call takes, the median of some rounds after a few that do not count."""
    for _ in range(min(5, rounds)):
        call()
    return median(_once(call) for _ in range(rounds))


def best(call: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest of some rounds: for what is long enough that other processes get in its way."""
    return min(_once(call) for _ in range(rounds))


def _once(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Sheet:
    """Figures that are printed as they come, and whether each target was met.

    Args:
        title: What is measured.
        baseline: What the ratios are to.
    """

    def __init__(self, title: str, baseline: str) -> None:
        self.missed: list[str] = []
        print(f"{title}\n  ratios are to: {baseline}\n  {_load()}")
        print(f"  {'':<50}{'measured':>13} {'baseline':>13} {'ratio':>7}  target")

    def add(
        self,
        what: str,
        value: float,
        unit: str,
        *,
        baseline: float | None = None,
        at_most: float | None = None,
        at_least: float | None = None,
        real: float | None = None,
    ) -> None:
        """Print a figure.

        Args:
            what: What was measured.
            value: How much it is.
            unit: Of what.
            baseline: The same of the baseline, in this run.
            at_most: The target, where less is better.
            at_least: The target, where more is better.
            real: What ERMrest and Hatrac need on two cores, where they were measured.
        """
        is_met = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
        target = f"<= {at_most:g}" if at_most is not None else f">= {at_least:g}" if at_least is not None else ""
        notes = [target, f"(real: {real:g})" if real is not None else "", "" if is_met else "MISSED"]
        base, ratio = (_short(baseline, unit), f"{value / baseline:.2f}") if baseline else ("", "")
        print(
            f"  {what:<50}{_short(value, unit):>13} {base:>13} {ratio:>7}  {' '.join(filter(None, notes))}", flush=True
        )
        if not is_met:
            self.missed.append(what)

    def end(self) -> int:
        """The exit status: 1 if a target was missed."""
        print(f"  {_load()}" + (f"; missed: {', '.join(self.missed)}" if self.missed else "; every target met"))
        return int(bool(self.missed))


def _short(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}"


def _load() -> str:
    one, five, _ = os.getloadavg()
    return f"{os.cpu_count()} CPUs, load {one:.2f} (1 min) {five:.2f} (5 min)"
