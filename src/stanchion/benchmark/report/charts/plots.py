"""Two kinds of failure against one another, in pixels: the template only draws what stands here.

The corner at the origin is the guard that everyone wants. Shares are on a square-root scale: guards that are any
good lie close to the corner, and a linear axis would draw them on top of one another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from types import MappingProxyType

from ...results.row import Row
from ...results.units import higher_is_better
from ...spec.attack_plan import DIRECT
from ...spec.variant import UNGUARDED

WIDTH, HEIGHT = 702, 340
LEFT, TOP, RIGHT, BOTTOM = 58, 16, 318, 54  # margins; names stand in the right one
LINE = 18  # between two names
LONGEST = 38  # letters of a name
SHARES = (0, 1, 2, 5, 10, 20, 40, 70, 100)
RATIOS = (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)

Value = tuple[float, float, float]  # with the ends of its interval


@dataclass(frozen=True)
class PlotPoint:
    """One guard: its place, its intervals' ends, where its name stands, and whether it is plain, front or rest."""

    title: str
    said: str
    kind: str
    x: float
    y: float
    left: float
    right: float
    low: float
    high: float
    label_y: float


@dataclass(frozen=True)
class Tick:
    """A place on an axis, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True)
class Plot:
    """A drawing of WIDTH x HEIGHT. ``frontier`` joins the guards that no other one beats in both values."""

    x_title: str
    y_title: str
    points: tuple[PlotPoint, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    frontier: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    top: int = TOP
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Axis:
    """Values of the guards by title, and how they are laid out from ``first`` to ``last``."""

    title: str
    values: Mapping[str, Value]
    ticks: Sequence[float]
    first: float
    last: float
    root: bool

    def place(self, value: float, start: float, end: float) -> float:
        """The pixel of a value between those of the axis' ends."""
        share = min(1.0, max(0.0, (value - self.first) / (self.last - self.first)))
        return round(start + (end - start) * (sqrt(share) if self.root else share), 1)

    def across(self, value: float) -> float:
        return self.place(value, LEFT, WIDTH - RIGHT)

    def up(self, value: float) -> float:
        return self.place(value, HEIGHT - BOTTOM, TOP)

    def shown(self) -> list[float]:
        """The ticks that lie on it."""
        return [tick for tick in self.ticks if self.first <= tick <= self.last]


def plots(rows: Sequence[Row]) -> list[Plot]:
    """Those for which one concept's rows hold both sides; none where there is nothing to trade."""
    direct = [row for row in rows if row.attack == DIRECT and row.value is not None]
    hardest, paired = _hardest(direct), _first(direct, "companion_kept")
    benign, neighbours = _first(direct, "benign_accuracy"), _first(direct, "neighbours_kept")
    unsafe = _failures(_of(direct, "unsafe_rate", hardest), f"unsafe pictures of {hardest} prompts, %")
    beside = _failures(_of(direct, "unsafe_rate", paired), f"unsafe pictures of {paired} prompts, %")
    missing = _failures(_of(direct, "benign_accuracy", benign), f"{benign} pictures without what was asked for, %")
    lost = _failures(_of(direct, "neighbours_kept", neighbours), "neighbours lost, %")
    pairs = [(missing, unsafe), (lost, beside), (_ratios(direct, hardest), unsafe)]
    return [plot for x, y in pairs if x and y and (plot := _plot(x, y))]


def pareto(rows: Sequence[Row], times: Mapping[str, float] | None = None) -> Plot | None:
    """The worst attack against the neighbours that are lost, and behind each name what a picture costs.

    Args:
        times: of guards by title, as ratios to the unguarded pipeline's; those of the rows where none are given.
    """
    direct = [row for row in rows if row.attack == DIRECT and row.value is not None]
    if times is None:
        ratios = _ratios(direct, _hardest(direct))
        times = {title: value for title, (value, _, _) in ratios.values.items()} if ratios else {}
    kept = _of(direct, "neighbours_kept", _first(direct, "neighbours_kept"))
    lost = _failures(kept, "neighbours lost, %")
    attacked = _failures(_worst_attacks(rows), "unsafe pictures under the worst attack, %")
    return _plot(lost, attacked, times) if lost and attacked else None


def _first(rows: Sequence[Row], metric: str) -> str | None:
    return next((row.prompt_set for row in rows if row.metric == metric), None)


def _hardest(rows: Sequence[Row]) -> str | None:
    """The prompt set on which the unguarded pipeline is unsafe most often."""
    plain = [row for row in rows if row.guard == UNGUARDED and row.metric == "unsafe_rate"]
    return max(plain, key=lambda row: row.value or 0.0).prompt_set if plain else None


def _worst_attacks(rows: Sequence[Row]) -> list[Row]:
    """For each guard that met all the attacks that any guard met, the one that succeeded most often."""
    met: dict[str, dict[tuple[str, str, bool | None], Row]] = {}
    for row in rows:
        if row.metric == "asr" and row.attack != DIRECT and row.value is not None:
            met.setdefault(row.title, {})[row.attack, row.prompt_set, row.adaptive] = row
    every = {attack for attacks in met.values() for attack in attacks}
    return [max(of.values(), key=lambda row: row.value or 0.0) for of in met.values() if of.keys() == every]


def _of(rows: Sequence[Row], metric: str, prompt_set: str | None) -> list[Row]:
    return [row for row in rows if (row.metric, row.prompt_set) == (metric, prompt_set)]


def _failures(rows: Sequence[Row], title: str) -> Axis | None:
    """Shares of failures in per cent; where a high share is good, of what is missing to 1."""
    values: dict[str, Value] = {}
    for row in rows:
        if row.value is None or row.low is None or row.high is None:
            continue
        value, low, high = 100 * row.value, 100 * row.low, 100 * row.high
        values[row.title] = (100 - value, 100 - high, 100 - low) if higher_is_better(row.metric) else (value, low, high)
    if not values:
        return None
    largest = max(high for _, _, high in values.values())
    return Axis(title, values, SHARES, 0, next((tick for tick in SHARES[3:] if tick >= largest), 100), root=True)


def _ratios(rows: Sequence[Row], prompt_set: str | None) -> Axis | None:
    """Time of a picture as ratio to the unguarded pipeline's on the same prompts, without an interval."""
    seconds = {row.title: row.value for row in _of(rows, "seconds_per_image", prompt_set)}
    plain = seconds.get(UNGUARDED)
    if not plain or len(seconds) < 2:
        return None
    ratios = {title: value / plain for title, value in seconds.items() if value}
    first, last = min(1.0, *ratios.values()) - 0.1, max(ratios.values()) + 0.1
    title = f"time of a picture of {prompt_set} prompts, unguarded = 1"
    return Axis(title, {name: (ratio,) * 3 for name, ratio in ratios.items()}, RATIOS, first, last, root=False)


def _plot(x: Axis, y: Axis, times: Mapping[str, float] = MappingProxyType({})) -> Plot | None:
    titles = [title for title in y.values if title in x.values]
    guarded = [title for title in titles if title != UNGUARDED]
    if not guarded:
        return None
    front = [title for title in guarded if not any(_beats(other, title, x, y) for other in guarded)]
    front.sort(key=lambda title: x.values[title][0])
    downwards = sorted(titles, key=lambda title: (y.up(y.values[title][0]), x.values[title][0]))
    names = dict(zip(downwards, _lines(titles, y), strict=True))
    titles.sort(key=lambda title: title == UNGUARDED)  # drawn last: it must not hide behind a guard that does nothing
    points = [_point(title, x, y, names[title], front, times.get(title)) for title in titles]
    return Plot(
        x_title=x.title,
        y_title=y.title,
        points=tuple(points),
        x_ticks=tuple(Tick(x.across(tick), f"{tick:g}") for tick in x.shown()),
        y_ticks=tuple(Tick(y.up(tick), f"{tick:g}") for tick in y.shown()),
        frontier=" ".join(f"{x.across(x.values[title][0])},{y.up(y.values[title][0])}" for title in front),
    )


def _beats(one: str, other: str, x: Axis, y: Axis) -> bool:
    """Whether ``one`` is nowhere worse than ``other`` and somewhere better."""
    first, second = ((x.values[title][0], y.values[title][0]) for title in (one, other))
    return first != second and first[0] <= second[0] and first[1] <= second[1]


def _point(title: str, x: Axis, y: Axis, label_y: float, front: Sequence[str], time: float | None) -> PlotPoint:
    (across, left, right), (up, low, high) = x.values[title], y.values[title]
    cost = f" × {time:.2f}" if time else ""
    longest = LONGEST - len(cost)
    return PlotPoint(
        title=(title if len(title) <= longest else f"{title[: longest - 1]}…") + cost,
        said=f"{title}: {across:.3g} and {up:.3g}{cost}",
        kind="plain" if title == UNGUARDED else "front" if title in front else "rest",
        x=x.across(across),
        y=y.up(up),
        left=x.across(left),
        right=x.across(right),
        low=y.up(low),
        high=y.up(high),
        label_y=label_y,
    )


def _lines(titles: Sequence[str], y: Axis) -> list[float]:
    """Heights of the names, from the top down: each near its point, none on another."""
    wanted = sorted(y.up(y.values[title][0]) for title in titles)
    placed: list[float] = []
    for height in wanted:
        placed.append(max(height, placed[-1] + LINE) if placed else height)
    over = max(0.0, placed[-1] - (HEIGHT - BOTTOM))
    for index in range(len(placed) - 1, -1, -1):  # pushed up from the bottom, where too many lie low
        below = placed[index + 1] - LINE if index + 1 < len(placed) else placed[index] - over
        placed[index] = round(min(placed[index], below), 1)
    return placed
