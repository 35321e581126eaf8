"""Words of messages: nouns that agree with numbers, and what was perhaps meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 case, 2 cases.

    Args:
        count: How many.
        noun: In the singular.
    """
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count} {noun if count == 1 else plural}"


def are(count: int, noun: str) -> str:
    """Return a count with its noun and verb: 1 case is, 2 cases are.

    Args:
        count: How many.
        noun: In the singular.
    """
    return f"{counted(count, noun)} {'is' if count == 1 else 'are'}"


def agreeing(count: int, nouns: str) -> str:
    """Return a count with nouns of hints: 1 box, 2 boxes, 1 soft.

    Args:
        count: How many.
        nouns: In the plural, where they have one.
    """
    singular = nouns.removesuffix("es") if nouns.endswith("xes") else nouns.removesuffix("s")
    return f"{count} {singular if count == 1 else nouns}"


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return a question for the known word most like a wrong one.

    Args:
        word: What was given.
        known: What may be given.
        otherwise: Returned if nothing is alike.
    """
    near = get_close_matches(word, list(known), 1)
    return f"did you mean {near[0]}?" if near else otherwise


def told_seconds(seconds: float) -> str:
    """Return a time in words: 40 s, 12 min."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
