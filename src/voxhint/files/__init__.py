"""How is it stored?"""

from voxhint.files.images import (
    read_ids,
    read_probability,
    read_volume,
    write_ids,
    write_image,
    write_probability,
)
from voxhint.files.inspection import open_study, survey
from voxhint.files.problems import Problem
from voxhint.files.study import CaseFiles, Study, load_case

__all__ = [
    "CaseFiles",
    "Problem",
    "Study",
    "load_case",
    "open_study",
    "read_ids",
    "read_probability",
    "read_volume",
    "survey",
    "write_ids",
    "write_image",
    "write_probability",
]
