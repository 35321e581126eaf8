"""nnInteractive's remote protocol: a client of it clicks, boxes, scribbles and undoes."""

import json
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.serve.desks import HOST, TOKEN, session_of

from voxhint.core.errors import BadFileError
from voxhint.core.packed import pack, unpack
from voxhint.serve import make_app
from voxhint.serve.nninteractive import LEASE, META, MOST

SHAPE = (24, 26, 22)
MIDDLE = [12, 13, 11]
AT = f"http://{HOST}/nninteractive"


def ball() -> np.ndarray:
    away = [n - m for n, m in zip(np.indices(SHAPE), MIDDLE, strict=True)]
    inside: np.ndarray = sum(a.astype(float) ** 2 for a in away) < 36
    return inside


class Viewer:
    """What a plug-in does: its mask follows the parts that come back."""

    def __init__(self, http: TestClient) -> None:
        self.http = http
        self.http.headers[LEASE] = self.post("claim", {}).json()["lease_token"]
        noise = np.random.default_rng(0).normal(0, 5, SHAPE)
        image = (100 * ball() + noise).astype(np.float32)[None]
        self.binary("set_image", {"image_properties": {"spacing": [1, 1, 1.5]}}, image)
        self.post("set_target_buffer", {"shape": SHAPE, "dtype": "uint16"})
        self.mask = np.zeros(SHAPE, np.uint16)

    def post(self, path: str, told: dict[str, Any]) -> Any:
        return self._heard(self.http.post(f"{AT}/{path}", json=told))

    def binary(self, path: str, told: dict[str, Any], array: np.ndarray) -> Any:
        headers = {META: json.dumps(told)}
        return self._heard(self.http.post(f"{AT}/{path}", content=pack(array), headers=headers))

    def _heard(self, answer: Any) -> Any:
        assert answer.status_code == 200, answer.text
        meta = json.loads(answer.headers.get(META, "{}"))
        if meta.get("bbox"):
            part = unpack(answer.content, most=2**20)
            assert part.dtype == np.uint16
            self.mask[tuple(slice(*ends) for ends in meta["bbox"])] = part
        return answer


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[Viewer]:
    app = make_app(session_of(tmp_path), token=TOKEN, hosts=frozenset({HOST}))
    with TestClient(app, headers={"authorization": f"Bearer {TOKEN}"}) as http:
        yield Viewer(http)


def overlap(mask: np.ndarray) -> float:
    inside = ball()
    return 2 * float((inside & (mask > 0)).sum()) / float(inside.sum() + (mask > 0).sum())


def click(viewer: Viewer, at: list[int], *, inside: bool = True) -> None:
    viewer.post("add_point_interaction", {"coordinates": at, "include_interaction": inside})


def test_clicks_make_a_mask_and_undo_takes_the_last_one_back(viewer: Viewer) -> None:
    click(viewer, MIDDLE)
    assert overlap(viewer.mask) > 0.45
    before = viewer.mask.copy()
    click(viewer, [13, 14, 11], inside=False)
    assert viewer.mask[13, 14, 11] == 0
    viewer.post("undo", {})
    assert np.array_equal(viewer.mask, before)
    viewer.post("reset_interactions", {})
    assert json.loads(viewer.post("undo", {}).headers[META])["ran_prediction"] is False


def test_prompts_that_wait_are_answered_together(viewer: Viewer) -> None:
    waiting = {"include_interaction": True, "run_prediction": False, "coordinates": MIDDLE}
    viewer.post("add_point_interaction", waiting)
    assert not viewer.mask.any()
    viewer.post("predict", {})
    assert viewer.mask[tuple(MIDDLE)] == 1


def test_a_flat_box_is_as_deep_as_it_is_wide(viewer: Viewer) -> None:
    box = [[6, 19], [7, 20], [11, 12]]
    viewer.post("add_bbox_interaction", {"bbox_coords": box, "include_interaction": True})
    assert overlap(viewer.mask) > 0.5
    assert viewer.mask[:, :, 12].any()
    assert not viewer.mask[:6].any()


def test_scribbles_lassos_and_masks_to_begin_with_are_obeyed(viewer: Viewer) -> None:
    inside = ball().astype(np.uint8)
    viewer.binary("add_initial_seg_interaction", {}, inside)
    viewer.mask[:] = inside  # the client's own part of the protocol
    wrong = np.zeros((3, 3, 1), np.uint8)
    wrong[1, 1] = 1
    where = {"include_interaction": False, "interaction_bbox": [[11, 14], [12, 15], [11, 12]]}
    viewer.binary("add_scribble_interaction", where, wrong)
    assert viewer.mask[12, 13, 11] == 0
    ring = np.zeros(SHAPE, np.uint8)
    ring[1:6, 1:6, 3] = 1
    viewer.binary("add_lasso_interaction", {"include_interaction": True}, ring)
    assert viewer.mask[3, 3, 3] == 1


def test_a_lease_is_needed_and_there_are_few(viewer: Viewer) -> None:
    http, lease = viewer.http, viewer.http.headers[LEASE]
    assert http.get(f"{AT}/capabilities").json()["supports_undo"] is True
    assert http.post(f"{AT}/heartbeat").json()["remaining_seconds"] > 0
    assert http.post(f"{AT}/undo", headers={LEASE: "none"}).status_code == 410
    assert http.post(f"{AT}/claim", headers={"authorization": "Bearer no"}).status_code == 401
    codes = [http.post(f"{AT}/claim").status_code for _ in range(MOST)]
    assert codes == [200] * (MOST - 1) + [503]
    http.post(f"{AT}/release", headers={LEASE: lease})
    assert http.post(f"{AT}/claim").status_code == 200


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("add_point_interaction", {"coordinates": [99, 0, 0], "include_interaction": True}),
        ("add_point_interaction", {"coordinates": ["x", 0, 0]}),
        ("add_bbox_interaction", {"bbox_coords": [[1, 1], [0, 2], [0, 2]]}),
        ("set_target_buffer", {"shape": [1, 2, 3], "dtype": "uint8"}),
        ("set_target_buffer", {"shape": SHAPE, "dtype": "object"}),
        ("add_scribble_interaction", {}),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(
    viewer: Viewer, path: str, told: dict[str, Any]
) -> None:
    answer = viewer.http.post(f"{AT}/{path}", json=told)
    assert answer.status_code == 400
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float16", "float32"])
def test_arrays_come_out_as_they_went_in(dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 2, (2, 3, 4)).astype(dtype)
    again = unpack(pack(array), most=array.nbytes)
    assert again.dtype == array.dtype
    assert np.array_equal(again, array)
    with pytest.raises(BadFileError, match="most"):
        unpack(pack(array), most=array.nbytes - 1)


@given(st.integers(0, 10_000), st.binary(max_size=12))
def test_damaged_arrays_are_refused_whatever_the_damage(at: int, noise: bytes) -> None:
    data = bytearray(pack(np.arange(60, dtype=np.int16).reshape(3, 4, 5)))
    at %= len(data)
    data[at : at + len(noise)] = noise
    for damaged in (bytes(data), bytes(data[:at])):
        with suppress(BadFileError):  # and nothing else; a change may also be harmless
            assert unpack(damaged, most=2**20).nbytes <= 2**20


def test_a_block_that_says_too_much_is_refused() -> None:
    data = pack(np.zeros((2, 2, 2), np.uint8))
    huge = data.replace(struct.pack("<q", 2), struct.pack("<q", 2**40), 1)
    with pytest.raises(BadFileError):
        unpack(huge, most=2**20)
