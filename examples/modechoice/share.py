"""Sampled mode shares, and what they become when car gains 0.3 of utility and everybody keeps their luck.

    python examples/modechoice/share.py

Reads utilities.csv beside it; draws what `numgumbel sample utilities.csv --seed 42 --stream mode_choice --n 2000` draws.
"""

import csv
from pathlib import Path

import numpy as np

import numgumbel as ng

DRAWS = 2000


def read(path):
    """Names of the modes, each traveller's number, and utilities of shape (travellers, modes)."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        (_, *modes), *rows = csv.reader(file)
    return modes, np.array([int(row[0]) for row in rows]), np.array([[float(cell) for cell in row[1:]] for row in rows])


def main():
    """Print both sets of shares and who changed."""
    modes, traveller, utilities = read(Path(__file__).with_name("utilities.csv"))
    car = modes.index("car")
    scenario = utilities.copy()
    scenario[:, car] += 0.3

    key = ng.key(42, "mode_choice")
    before = ng.categorical(key, utilities, rows=traveller, n=DRAWS)  # shape (draws, travellers)
    after = ng.categorical(key, scenario, rows=traveller, n=DRAWS)  # the same noise, looked up again
    fresh = ng.categorical(key, scenario, rows=traveller, n=DRAWS, step=DRAWS)  # other noise

    print(f"travellers of {len(traveller)}, mean of {DRAWS} draws")
    print("      now  car + 0.3  difference")
    for mode, name in enumerate(modes):
        now, then = ((choice == mode).sum() / DRAWS for choice in (before, after))
        print(f"{name:>5} {now:5.1f} {then:6.1f} {then - now:+11.1f}")
    for name, choice in (("the same noise", after), ("fresh noise", fresh)):
        changed = choice != before
        print(f"{name}: {changed.mean():.1%} change, {(choice[changed] == car).mean():.1%} of them to car")


if __name__ == "__main__":
    main()
