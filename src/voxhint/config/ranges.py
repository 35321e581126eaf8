"""What values a knob may take."""

from typing import Annotated

from annotated_types import Ge, Gt, Le
from pydantic import ConfigDict

Count = Annotated[int, Ge(1)]
Weight = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Ge(0), Le(1)]

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Unknown knobs and endless numbers are refused."""
