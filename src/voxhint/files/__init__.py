"""How is it stored?"""

from voxhint.core.study import CaseFiles, Study
from voxhint.files.images import (
    read_ids,
    read_probability,
    read_volume,
    write_ids,
    write_image,
    write_probability,
)
from voxhint.files.problems import Problem
from voxhint.files.validate.study import open_study, survey

__all__ = [
    "CaseFiles",
    "Problem",
    "Study",
    "open_study",
    "read_ids",
    "read_probability",
    "read_volume",
    "survey",
    "write_ids",
    "write_image",
    "write_probability",
]
