"""Colours that people who see few colours can tell apart too."""

_COLOURS = (
    (0, 0, 0),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Black for background, then orange, sky blue, bluish green, yellow, blue, vermilion and reddish
purple. Source: Okabe and Ito 2008, "Color Universal Design"."""

_SHADE = 0.55  # of the next round's colours


def colour_of(number: int) -> tuple[int, int, int]:
    """Return the colour of a class; after seven labels they come again, darker."""
    if number == 0:
        return _COLOURS[0]
    turn, place = divmod(number - 1, len(_COLOURS) - 1)
    red, green, blue = _COLOURS[1 + place]
    shade = _SHADE**turn
    return round(red * shade), round(green * shade), round(blue * shade)
