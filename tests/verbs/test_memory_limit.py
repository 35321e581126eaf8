"""What does not fit is refused in one line, with what would."""

import pytest

from voxhint.config import Machine
from voxhint.core.errors import BadRecipeError
from voxhint.verbs.memory_limit import limit_of, require_memory

NEEDS = {"a": 2**30, "b": 3 * 2**30, "c": 2 * 2**30}


@pytest.mark.parametrize(("workers", "enough"), [(1, "3G"), (2, "5.5G"), (9, "6.5G"), (1, None)])
def test_what_the_largest_cases_need_together_is_enough(workers: int, enough: str | None) -> None:
    require_memory("predicting", NEEDS, Machine(max_ram=enough, workers=workers))
    require_memory("predicting", {}, Machine(max_ram="1M"))


@pytest.mark.parametrize(
    ("workers", "limit", "told"),
    [
        (1, "2.9G", "3.0G for case b, with 1 worker 3.0G, and 2.9G is allowed; allow .* 3.0G$"),
        (2, "5.4G", "with 2 workers 5.5G, .*; allow --max-ram 5.5G, or say --workers 1$"),
        (2, "3.4G", "with 2 workers 5.5G, .*; allow --max-ram 5.5G$"),
    ],
)
def test_less_is_refused_with_what_would_fit(workers: int, limit: str, told: str) -> None:
    with pytest.raises(BadRecipeError, match=f"^predicting needs up to .*{told}"):
        require_memory("predicting", NEEDS, Machine(max_ram=limit, workers=workers))


def test_each_of_several_processes_has_its_share() -> None:
    assert limit_of(Machine()) is None
    assert limit_of(Machine(max_ram="4G")) == 2**32
    assert limit_of(Machine(max_ram="4.5G", workers=2)) == 2**31
