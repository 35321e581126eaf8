"""Colours of labels: the same in pictures, and in what is handed on to other tools."""

_COLOURS = ("#E69F00", "#56B4E9", "#F0E442", "#CC79A7", "#009E73", "#D55E00", "#0072B2")
"""One per label, in turn, told apart by colour-blind people too.

Source:
    Okabe and Ito 2008, "Color Universal Design".
"""

_GREY = "#D9D9D9"
"""Background's colour."""


def colour_of(number: int) -> str:
    """Return the colour of a class as #RRGGBB; background is grey."""
    return _GREY if number == 0 else _COLOURS[(number - 1) % len(_COLOURS)]


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue of a colour written as #RRGGBB, each of 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
