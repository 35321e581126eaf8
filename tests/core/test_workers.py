"""Work over several processes gives what it gives in one, in order, errors included."""

import os
import time
from functools import partial

import pytest

from voxhint.core.errors import BadFileError
from voxhint.core.workers import spread


def squared(offset: int, number: int) -> tuple[int, int]:
    if number == 3:
        msg = "three.nii.gz: is no number; write another"
        raise BadFileError(msg)
    time.sleep(0.02 * (5 - number))  # the first ends last
    return number**2 + offset, os.getpid()


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_results_come_in_order_and_an_error_costs_the_others_nothing(workers: int) -> None:
    found: dict[int, object] = {}
    processes = set()
    for number, result in spread(partial(squared, 7), range(6), workers):
        if number == 3:
            with pytest.raises(BadFileError, match=r"three.nii.gz: is no number; write another"):
                result()
        else:
            found[number], process = result()
            processes.add(process)
    assert found == {n: n**2 + 7 for n in (0, 1, 2, 4, 5)}
    assert [*found] == [0, 1, 2, 4, 5]
    assert (processes == {os.getpid()}) == (workers == 1)


def test_nothing_to_do_starts_no_process() -> None:
    assert [*spread(partial(squared, 7), (), 4)] == []
