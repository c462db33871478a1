"""A synthetic population and its readings, for the demo city. May be left out of a pack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np

from zhenan.packkit import synthetic
from zhenan.packkit.simulate import (
    Columns,
    DeviceSpec,
    SimPoint,
    SimulationContext,
    Spec,
    SubjectSpec,
    episode,
    joined,
    ticks,
)

PACK = Path(__file__).parent.name
PLACES = 500  # at scale 1.0
DOORS_LEFT_OPEN_PER_DAY = 0.02


def population(ctx: SimulationContext) -> Iterator[Spec]:
    """Cold stores with a thermometer each, spread over the towns."""
    number = 0
    for town, count in zip(
        ctx.towns, synthetic.shares(ctx.scaled(PLACES), synthetic.town_weights(ctx.towns)), strict=True
    ):
        for _ in range(count):
            rng = ctx.rng("place", str(number))
            key = f"{PACK}-{number:05d}"
            lon, lat = town.sample(rng)
            opened_on = ctx.as_of - timedelta(days=int(rng.integers(30, 3_000)))
            yield SubjectSpec(
                type=f"{PACK}.place",
                key=key,
                name=f"{town.name}冷库{number + 1}号",
                town_code=town.code,
                lon=lon,
                lat=lat,
                address=synthetic.address(rng, town),
                attributes={
                    "kind": "freezer" if rng.random() < 0.6 else "chiller",
                    "floor_area_m2": round(float(rng.uniform(50, 5_000)), 1),
                    "opened_on": opened_on.isoformat(),
                },
                contact=synthetic.contact(rng),
            )
            yield DeviceSpec(f"{PACK}.thermometer", f"{key}-T", key, opened_on)
            number += 1


def readings(points: Sequence[SimPoint], t0_ms: int, t1_ms: int, rng: np.random.Generator) -> Columns:
    """A reading a minute; now and then a door is left open."""
    index = np.array([p.index for p in points], dtype=np.int32)
    seeds = np.array([p.device_seed for p in points], dtype=np.uint64)
    row, ts = ticks(seeds, 60_000, t0_ms, t1_ms)
    since = episode(seeds[row], ts, 1, DOORS_LEFT_OPEN_PER_DAY, 900, 3_600)
    warming = np.where(np.isnan(since), 0.0, np.minimum(since / 60, 25))
    value = np.round(-18 + warming + rng.normal(0, 0.3, ts.size), 1)
    return joined([Columns(index[row], ts, value)])
