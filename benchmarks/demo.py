"""What the demonstration costs: loading the digits, and one experiment on them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from measure import run, script

SECONDS = 60.0
BYTES = 500_000_000


def main() -> int:
    """Measure and print; 1 if it takes longer, or needs more memory, than the targets say."""
    repository = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        load = run([script("create-demo-catalog")], cwd=repository, home=home)
        words = ["+experiment=digits_logistic", "--allow-dirty"]
        fit = run([script("deriva-ml-run"), *words], cwd=repository, home=home)
    for what, cost in (("create-demo-catalog", load), ("deriva-ml-run", fit)):
        print(f"{what:<20}{cost.wall:6.1f} s wall {cost.cpu:6.1f} s CPU {cost.rss / 1e6:6.0f} MB")
    wall, peak = load.wall + fit.wall, max(load.rss, fit.rss)
    print(f"{'together':<20}{wall:6.1f} s wall, {peak / 1e6:.0f} MB (targets: {SECONDS:.0f} s, {BYTES / 1e6:.0f} MB)")
    return 0 if wall <= SECONDS and peak <= BYTES else 1


if __name__ == "__main__":
    raise SystemExit(main())
