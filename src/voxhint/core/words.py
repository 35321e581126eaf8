"""Words that agree with numbers."""


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 case, 2 cases.

    Args:
        count: How many.
        noun: In the singular.
    """
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count} {noun if count == 1 else plural}"
