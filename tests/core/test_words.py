"""Nouns and verbs agree with their numbers."""

from voxhint.core.words import agreeing, are, counted


def test_one_thing_is_told_in_the_singular() -> None:
    assert [counted(1, "case"), are(1, "case"), agreeing(1, "boxes")] == [
        "1 case",
        "1 case is",
        "1 box",
    ]
    assert [counted(2, "study"), are(0, "case")] == ["2 studies", "0 cases are"]
    assert [agreeing(n, kind) for n, kind in ((1, "slices"), (1, "soft"), (2, "boxes"))] == [
        "1 slice",
        "1 soft",
        "2 boxes",
    ]
