"""Work over several processes gives what it gives in one, in order, errors included."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from voxhint.core.errors import BadFileError, NotAvailableError
from voxhint.core.workers import cluster, on_cluster, spread


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


def fatal(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_process_that_the_system_ends_is_told_in_one_line() -> None:
    ((_, one), *_) = spread(fatal, range(2), 2)
    with pytest.raises(NotAvailableError, match="the system ended a worker"):
        one()


def test_nothing_to_do_starts_no_process() -> None:
    assert [*spread(partial(squared, 7), (), 4)] == []


_EARLY = """
import sys
from functools import partial
from voxhint.core.workers import spread, warm_up

def loaded(name, number):
    return name in sys.modules

if __name__ == "__main__":
    warm_up(2, "this_one")
    for name in ("this_one", "colorsys"):
        print(*(found() for _, found in spread(partial(loaded, name), range(3), 2)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
def test_workers_begin_with_what_was_loaded_beside_the_first_process(tmp_path: Path) -> None:
    (tmp_path / "this_one.py").write_text("print('loaded once', flush=True)")
    program = tmp_path / "program.py"
    program.write_text(_EARLY)
    told = subprocess.run(
        [sys.executable, program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout.splitlines()
    assert sorted(told) == ["False False False", "True True True", "loaded once"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Return the address of a cluster of two machines, both of them here."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    limits = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    local = Cluster(initialize_head=True, head_node_args=limits)
    local.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    yield local.address
    local.shutdown()  # type: ignore[no-untyped-call,unused-ignore]


def fatal_once(folder: Path, number: int) -> int:
    """Return the square of a number; the first worker that is asked about 3 dies of it."""
    with (folder / str(number)).open("a") as tries:
        tries.write("x")
    if number == 3 and (folder / "3").read_text() == "x":
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


@pytest.mark.slow
def test_a_cluster_does_what_one_process_does_and_what_a_lost_worker_did_once_more(
    address: str, tmp_path: Path
) -> None:
    with cluster(address):
        assert on_cluster()
        test_results_come_in_order_and_an_error_costs_the_others_nothing(9)
        found = {n: result() for n, result in spread(partial(fatal_once, tmp_path), range(5), 1)}
        ((_, here),) = spread(partial(squared, 7), [5], 0)
        assert here() == (32, os.getpid())
    assert not on_cluster()
    assert [*found.items()] == [(n, n**2) for n in range(5)]
    tries = {path.name: len(path.read_text()) for path in tmp_path.iterdir()}
    assert tries == {"0": 1, "1": 1, "2": 1, "3": 2, "4": 1}


@pytest.mark.parametrize("address", ["nobody", "127.0.0.1:1", "ray://127.0.0.1:1", "::1:99999"])
def test_a_cluster_that_is_not_there_is_told_in_one_line(address: str) -> None:
    pytest.importorskip("ray")
    began = time.monotonic()
    with (
        pytest.raises(NotAvailableError, match=f"no Ray cluster answers at '{address}'"),
        cluster(address),
    ):
        pass
    assert time.monotonic() - began < 30  # Ray alone waits for minutes
