"""The page: self-contained, well formed, honest about what is missing."""

import dataclasses
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
from tests.measure.rows import row, rows

from voxhint.measure.compare import compare
from voxhint.measure.roc import Ranking
from voxhint.measure.score_table import ScoreTable, tabulate
from voxhint.review.report import _RESEARCH_ONLY, draw_learning, write_report
from voxhint.review.report_data import Panel, Picture, RunFacts, Slices, TagRanking

_VOID = {"meta", "img", "br", "input"}


# typing.override arrives with Python 3.12
class Reader(HTMLParser):
    """Checks that every element is closed in order, and notes elements and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # type: ignore[explicit-override]
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:  # type: ignore[explicit-override]
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:  # type: ignore[explicit-override]
        self.text += data


def scores() -> ScoreTable:
    rng = np.random.default_rng(0)
    ours = (*rows(list(np.linspace(0.3, 0.9, 8))), row("zz", None, empty="truth empty"))
    theirs = (*rows(list(np.linspace(0.2, 0.7, 8))), row("zz", None, empty="both empty"))
    table = tabulate(ours, labels=("liver",), tolerance_mm=1.0, rng=rng)
    return replace(table, compare=compare(ours, theirs, against="old masks", rng=rng))


def picture(case: str, *, reason: str = "", note: str = "", size: int = 4) -> Picture:
    view = Slices(
        view="axial", places=("z = 1 mm", "z = 2 mm"), best=1, letters=("R", "L", "A", "P"),
        shape=(20, 10), ruler_mm=10, ruler_share=0.25, panels=(Panel("mask", b"\x89" * size),),
    )  # fmt: skip
    return Picture(case, reason, (note,), (view,), (("liver", "#E69F00"),), f"masks/{case}.nii.gz")


FULL = RunFacts(
    name="my <run>",
    made={
        "verb": "run", "study": "/data/study", "seed": 3, "peak_ram_mb": 2048,
        "config": {"label": {"scale_mm": None}, "train": {"steps": 200, "supervision": "weak"}},
        "versions": {"voxhint": "0.1.0"}, "inputs": {"imagesTr/a.nii.gz": "abc"},
        "seconds": {"label": 2.5, "train": 400}, "hints": {"points": 12, "boxes": 3},
        "skipped": [{"case": "bad1", "reason": "empty image"}], "warnings": ["<script>x</script>"],
    },
    plan={"network": "dynunet", "spacing_mm": [1, 1, 2]},
    history=tuple({"step": float(n), "loss": 1 / (n + 1), "held_out": None} for n in range(5)),
    scores=scores(),
    test_pictures=(picture("case a & b", reason="among the worst"),),
    training_pictures=(picture("c", note="Hints: 12 points of liver."),),
    files=(("scores.json", "every score"), ("masks", "masks of the test images")),
    counts={"training images": 5, "test images": 9},
    problems=("masks/x.nii.gz: cannot be read; write it again",),
)  # fmt: skip


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere() -> None:
    page = write_report(FULL)
    reader = Reader(page)
    assert "http" not in page
    assert not {"link", "iframe"} & {tag for tag, _ in reader.elements}
    assert [attributes for tag, attributes in reader.elements if tag == "script"] == [{}]
    sources = [attributes["src"] for tag, attributes in reader.elements if tag == "img"]
    assert len(sources) == 3
    assert all(source is not None and source.startswith("data:image/") for source in sources)


def test_the_contents_name_every_section_and_every_link_stays_beside_the_page() -> None:
    elements = Reader(write_report(FULL)).elements
    links = [str(attributes["href"]) for tag, attributes in elements if tag == "a"]
    sections = [f"#{attributes['id']}" for tag, attributes in elements if tag == "section"]
    assert links[: len(sections)] == sections
    assert set(links[len(sections) :]) == {
        "masks/case%20a%20%26%20b.nii.gz", "masks/c.nii.gz", "scores.json", "masks",
    }  # fmt: skip


def test_a_slider_knows_the_place_of_every_slice_and_begins_at_the_best() -> None:
    elements = Reader(write_report(FULL)).elements
    sliders = [attributes for tag, attributes in elements if tag == "input"]
    assert len(sliders) == 2
    assert {(one["max"], one["value"], one["data-places"]) for one in sliders} == {
        ("1", "1", "z = 1 mm|z = 2 mm")
    }


def test_a_page_of_a_thousand_cases_is_small() -> None:
    many = rows(list(np.linspace(0.1, 0.9, 1000)))
    table = tabulate(
        many, labels=("liver",), tolerance_mm=1.0, rng=np.random.default_rng(0), resamples=10
    )
    big = dataclasses.replace(
        FULL,
        scores=table,
        made={**FULL.made, "warnings": [f"case {n}: odd" for n in range(1000)]},
        test_pictures=(picture("a", size=200_000),) * 6,
        training_pictures=(picture("b", size=200_000),) * 3,
    )
    page = write_report(big)
    assert len(page) < 5e6
    told = Reader(page).text
    for words in ("300 of 1000 lines", "and 960 more", "1000 cases"):
        assert words in told, words


def test_pictures_have_words_and_tables_have_captions() -> None:
    elements = Reader(write_report(FULL)).elements
    assert all(attributes.get("alt") for tag, attributes in elements if tag == "img")
    tags = [tag for tag, _ in elements]
    tables = [place for place, tag in enumerate(tags) if tag == "table"]
    assert len(tables) > 4
    assert all("figcaption" in tags[place - 3 : place] for place in tables)


def test_the_page_tells_use_numbers_policy_comparison_and_troubles() -> None:
    told = Reader(write_report(FULL)).text
    table = FULL.scores
    assert table is not None
    assert table.overall.dice.mean is not None
    for words in (
        _RESEARCH_ONLY, "my <run>", "12 points and 3 boxes",
        f"mean Dice of {table.overall.dice.mean:.3f}",
        "missing from the mask counts as 0", "false alarms", "old masks", "bad1: empty image",
        "<script>x</script>", "masks/x.nii.gz", "2.0 GiB", "6.7 min",
        "label.scale_mm", table.policy,
    ):  # fmt: skip
        assert words in told, words


def ranked_of(ranked: Ranking) -> dict[str, TagRanking]:
    return {"nodule": TagRanking(ranked, held_out=True), "scar": TagRanking(None)}


def test_numbers_of_weights_from_elsewhere_are_not_given_as_of_this_study() -> None:
    ranked = Ranking(auc=0.966, low=0.9, high=0.99, positives=29, negatives=66, subjects=22)
    card = {"name": "chest 1", "licence": "CC-BY-3.0", "data": "LIDC", "attribution": "Armato 2015"}
    ours = RunFacts(name="x", classifier=ranked_of(ranked))
    theirs = dataclasses.replace(ours, weights={"classifier": {**card, "measured": "95 windows"}})
    told = re.sub(r"\s+", " ", Reader(write_report(theirs)).text)
    for words in (
        "95 windows; not this study", "come with the weights", "knows no image of this study",
        *card.values(),
    ):  # fmt: skip
        assert words in told, words
    assert "training images tagged absent" not in told
    plain = re.sub(r"\s+", " ", Reader(write_report(ours)).text)
    assert "training images tagged absent" in plain
    assert "held-out subjects of this study" in plain
    assert "come with the weights" not in plain


def test_the_page_tells_how_well_tags_are_told_and_that_masks_are_gated() -> None:
    ranked = Ranking(auc=0.91234, low=0.8, high=0.95, positives=12, negatives=34, subjects=20)
    made = {"config": {"label": {"tags": {"specificity": 0.85}}}}
    tagged = RunFacts(name="x", made=made, classifier=ranked_of(ranked))
    page = Reader(write_report(tagged))
    told = re.sub(r"\s+", " ", page.text)
    for words in ("0.912", "0.800 to 0.950", "12", "34", "20", "scar", "at least as high as 85 %"):
        assert words in told, words
    assert "85 %" not in Reader(write_report(dataclasses.replace(tagged, made={}))).text
    assert "AUC" not in Reader(write_report(FULL)).text


def test_the_page_tells_where_on_its_curve_a_training_ended() -> None:
    history = tuple({"step": 9.0 * n, "held_out": 0.5, "seconds": 40.0 * n} for n in range(1, 9))
    ended = dataclasses.replace(FULL, history=history, made={**FULL.made, "ended": "settled"})
    told = Reader(write_report(ended)).text
    for words in ("72 steps (5.3 min)", "no longer got better", "unlikely to help"):
        assert words in told, words


def test_a_run_of_which_nothing_is_known_still_has_a_page() -> None:
    reader = Reader(write_report(RunFacts(name="empty")))
    assert _RESEARCH_ONLY in reader.text
    assert "no truth to compare with" in reader.text
    assert not re.search(r"\bNone\b|nan", reader.text)


def test_strange_values_in_made_do_not_stop_the_page() -> None:
    strange = RunFacts(
        name="x", made={"seconds": 3, "hints": ["a"], "skipped": "no", "config": None}
    )
    assert "no truth" in Reader(write_report(strange)).text


Rows = list[dict[str, float | None]]


def test_two_values_make_a_curve_and_fewer_make_none() -> None:
    rows: Rows = [
        {"step": 0.0, "loss": 1.0},
        {"step": 1.0, "loss": 0.5, "held_out": None},
    ]
    drawn = draw_learning(rows)
    assert drawn is not None
    assert drawn.startswith(b"\x89PNG")
    assert draw_learning(rows[:1]) is None
    assert draw_learning([]) is None


def test_a_second_curve_makes_the_picture_wider() -> None:
    one: Rows = [{"step": float(n), "loss": 1.0 - n / 10} for n in range(5)]
    two: Rows = [{**row, "held_out": 0.5} for row in one]
    assert len(draw_learning(two) or b"") > len(draw_learning(one) or b"")
