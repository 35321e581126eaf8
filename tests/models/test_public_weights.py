"""What voxhint tells of weights, and how it finds them."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from voxhint.core.errors import BadFileError, BadRecipeError, NotAvailableError
from voxhint.models import public_weights
from voxhint.models.public_weights import KNOWN, fetch, find_weights, listing, shipped


@pytest.mark.parametrize("weights", KNOWN.values(), ids=lambda one: one.name)
def test_every_entry_tells_what_a_person_must_know(
    tmp_path: Path, weights: public_weights.Weights
) -> None:
    lines = list(listing(tmp_path))
    first = next(n for n, line in enumerate(lines) if line.startswith(f"{weights.name}: "))
    assert "not here" in lines[first]
    told = dict(line.strip().split(": ", 1) for line in lines[first + 1 : first + 6])
    assert told["licence"] == weights.licence
    assert all(told[key] for key in ("use", "data", "source", "files"))


def test_weights_are_told_as_found_once_all_their_files_are_there(tmp_path: Path) -> None:
    first, second = KNOWN["maisi-v2"].places(tmp_path)
    first.parent.mkdir()
    first.touch()
    assert not KNOWN["maisi-v2"].here(tmp_path)
    second.touch()
    assert f"maisi-v2: weights found in {first.parent}" in list(listing(tmp_path))


def test_cards_of_shipped_weights_are_told_and_silence_is_named(tmp_path: Path) -> None:
    for name, card in (
        ("chest", {"name": "chest", "licence": "CC-BY-4.0", "data": ["LIDC-IDRI"], "source": "us"}),
        ("other", {}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(json.dumps(card))
    chest, other = shipped(tmp_path)
    assert chest == {
        "name": "chest",
        "licence": "CC-BY-4.0",
        "data": '["LIDC-IDRI"]',
        "source": "us",
    }
    assert other == {
        "name": "other",
        "licence": "not told",
        "data": "not told",
        "source": "not told",
    }


def test_a_damaged_card_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "chest").mkdir()
    (tmp_path / "chest" / "card.json").write_text("{")
    with pytest.raises(BadFileError, match=r"card\.json"):
        list(shipped(tmp_path))


def test_a_named_file_is_taken_and_a_missing_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "lite.pth"
    with pytest.raises(BadFileError, match="no such file"):
        find_weights("medsam-tinyvit", str(path))
    path.touch()
    assert find_weights("medsam-tinyvit", str(path)) == path


def test_without_a_name_the_usual_folder_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_weights, "HOME", tmp_path)
    with pytest.raises(NotAvailableError, match="backbone_weights"):
        find_weights("medsam-tinyvit", None)
    (path,) = KNOWN["medsam-tinyvit"].places(tmp_path)
    path.parent.mkdir()
    path.touch()
    assert find_weights("medsam-tinyvit", None) == path


def test_only_what_is_on_the_hub_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(BadRecipeError, match="'maisi' are unknown; the hub has maisi-v2"):
        fetch("maisi", tmp_path)
    with pytest.raises(BadRecipeError, match=r"not on the hub; see .*LiteMedSAM"):
        fetch("medsam-tinyvit", tmp_path)


def test_without_the_extra_one_line_tells_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(NotAvailableError, match=r"voxhint\[hub\]"):
        fetch("maisi-v2", tmp_path)


NEWEST = "1" * 40


def hub(monkeypatch: pytest.MonkeyPatch, *, fails: bool = False) -> list[str]:
    """Put a hub in place that writes down what it is asked for."""
    asked: list[str] = []

    def download(repository: str, file: str, *, revision: str, local_dir: Path) -> str:
        if fails:
            raise OSError
        asked.append(f"{repository}/{file}@{revision}")
        path = local_dir / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)
        return str(path)

    module = ModuleType("huggingface_hub")
    api = SimpleNamespace(model_info=lambda _: SimpleNamespace(sha=NEWEST))
    monkeypatch.setattr(module, "hf_hub_download", download, raising=False)
    monkeypatch.setattr(module, "HfApi", lambda: api, raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return asked


def test_files_are_fetched_once_to_where_they_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = hub(monkeypatch)
    found = fetch("maisi-v2", tmp_path)
    assert found == KNOWN["maisi-v2"].places(tmp_path)
    assert [path.read_text() for path in found] == list(KNOWN["maisi-v2"].files)
    assert fetch("maisi-v2", tmp_path) == found
    assert len(asked) == 2


def test_all_files_are_of_one_revision_which_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = hub(monkeypatch)
    first, second = fetch("maisi-v2", tmp_path)
    assert all(line.endswith(f"@{NEWEST}") for line in asked)
    assert any(NEWEST in line for line in listing(tmp_path))
    second.unlink()
    monkeypatch.setattr(sys.modules["huggingface_hub"], "HfApi", None)  # nobody asks what is newest
    fetch("maisi-v2", tmp_path)
    assert asked[2:] == [asked[1]]
    with pytest.raises(BadFileError, match=f"holds revision {NEWEST}, not abc"):
        fetch("maisi-v2", tmp_path, revision="abc")
    first.write_text("something else")
    with pytest.raises(BadFileError, match="not the file that was fetched"):
        fetch("maisi-v2", tmp_path)


def test_a_named_revision_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub(monkeypatch)
    fetch("maisi-v2", tmp_path, revision="abc")
    assert all(line.endswith("@abc") for line in asked)


def test_a_hub_that_does_not_answer_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch, fails=True)
    with pytest.raises(NotAvailableError, match=r"does not give models/autoencoder_v1\.pt"):
        fetch("maisi-v2", tmp_path)
