"""The dominant colours of a picture, from a copy of at most 48 x 48 pixels. Names of colours are the tagger's."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

_MOST = 5
# Squared distance in RGB under which two colours look alike at a glance.
_ALIKE = 48 * 48
_LEAST_SHARE = 0.03


@dataclass(frozen=True)
class Colour:
    """A colour as `#rrggbb`, and the share of the visible pixels that it stands for, 0 to 1."""

    hex: str
    share: float


def dominant_colours(pixels: Iterable[tuple[int, int, int]]) -> tuple[Colour, ...]:
    """Up to five colours, the commonest first; those under 3 % are left out. Same pixels, same answer."""
    counted = Counter(pixels)
    total = counted.total()
    cells: dict[tuple[int, int, int], list[int]] = {}
    for (red, green, blue), count in counted.items():
        cell = cells.setdefault((red >> 4, green >> 4, blue >> 4), [0, 0, 0, 0])
        for index, value in enumerate((red, green, blue, 1)):
            cell[index] += value * count
    ordered = sorted(cells.items(), key=lambda item: (-item[1][3], item[0]))
    groups: list[list[int]] = []
    for _, cell in ordered:
        mean = [value / cell[3] for value in cell[:3]]
        near = next((group for group in groups if _distance(group, mean) < _ALIKE), None)
        if near is None:
            groups.append(list(cell))
        else:
            for index, value in enumerate(cell):
                near[index] += value
    groups.sort(key=lambda group: -group[3])
    return tuple(
        Colour("#" + "".join(f"{round(value / group[3]):02x}" for value in group[:3]), round(group[3] / total, 3))
        for group in groups[:_MOST]
        if group[3] >= _LEAST_SHARE * total
    )


def _distance(group: list[int], mean: list[float]) -> float:
    return sum((value / group[3] - other) ** 2 for value, other in zip(group[:3], mean, strict=True))
