"""Colours of labels: the same in pictures, at the page, and in what is handed on to other tools."""

_COLOURS = ("#E69F00", "#56B4E9", "#F0E442", "#CC79A7", "#009E73", "#D55E00", "#0072B2")
"""One per label, in turn, told apart by colour-blind people too.

Source:
    Okabe and Ito 2008, "Color Universal Design".
"""

_GREY = "#D9D9D9"
"""Background's colour."""

_SHADE = 0.55  # of the next round's colours


def colour_of(number: int) -> str:
    """Return the colour of a class as #RRGGBB: grey for background, after seven labels darker."""
    if number == 0:
        return _GREY
    turn, place = divmod(number - 1, len(_COLOURS))
    return "#" + "".join(f"{round(part * _SHADE**turn):02X}" for part in rgb_of(_COLOURS[place]))


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue of a colour written as #RRGGBB, each of 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
