"""An export is one data set of one kind of file, whatever the images of the study were."""

import json
from pathlib import Path

import numpy as np
import SimpleITK
from tests.phantoms import make_study

from voxhint.files.images import read_volume, write_ids
from voxhint.verbs.export import export


def test_images_of_other_formats_become_nifti(tmp_path: Path) -> None:
    study, run = make_study(tmp_path / "study"), tmp_path / "run"
    plain, other = sorted((study / "imagesTr").iterdir())
    wanted = {path.name: read_volume(path) for path in (plain, other)}
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(other)), str(other.with_name("c1_0000.mha")))
    other.unlink()
    (run / "masksTr").mkdir(parents=True)
    for name, volume in wanted.items():
        ids = np.zeros(volume.grid.shape, np.uint8)
        write_ids(run / "masksTr" / name.replace("_0000", ""), ids, volume.grid)
    (run / "made.json").write_text(json.dumps({"verb": "run", "study": str(study)}))

    made = export(run, to="nnunet", out=tmp_path / "out")

    assert json.loads((made / "dataset.json").read_text())["file_ending"] == ".nii.gz"
    assert sorted(path.name for path in (made / "imagesTr").iterdir()) == sorted(wanted)
    for name, volume in wanted.items():
        told = read_volume(made / "imagesTr" / name)
        assert told.grid.same(volume.grid)
        assert np.allclose(told.voxels, volume.voxels)
