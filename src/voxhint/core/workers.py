"""Work on many cases, in this process or spread over several, here or on a Ray cluster."""

import multiprocessing
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache, partial
from importlib import import_module
from importlib.metadata import version
from platform import node
from typing import Any, TypeVar

from voxhint.core.errors import NotAvailableError

_T = TypeVar("_T")
_R = TypeVar("_R")

_FORKS = sys.platform == "linux"  # elsewhere libraries of the system do not bear it
_AGAIN = 3  # times that a case is done anew whose worker was lost
_KNOCK = 20.0  # seconds in which a cluster answers at all

_work: list[Callable[[Any], Any]] = []
_clusters: list[tuple[Any, dict[str, Any]]] = []
"""Ray, and what a case takes of a machine, while a cluster does the work."""


def warm_up(workers: int, *modules: str) -> None:
    """Begin to load, in a process beside this one, what workers will need; they are forked of it.

    So modules are loaded once for all workers, while this process loads its own. It does no work
    itself, and has no threads that a fork would leave behind.

    Args:
        workers: How many there will be; one is none.
        modules: Whatever their work imports, at its start or later.
    """
    if workers > 1 and _FORKS:
        multiprocessing.get_context("forkserver").set_forkserver_preload([*modules])
        from multiprocessing.forkserver import ensure_running

        ensure_running()


def spread(
    work: Callable[[_T], _R], items: Sequence[_T], workers: int
) -> Iterator[tuple[_T, Callable[[], _R]]]:
    """Yield each item in order, and what gives its result or raises its error.

    Args:
        work: Is done for every item; what it holds is sent once to every process.
        items: In the order of the results.
        workers: Processes; with one the work is done here, when its result is asked for, unless a
            cluster does it; with none it is done here in any case.
    """
    if workers and items and _clusters:
        yield from _over_cluster(work, items)
        return
    if min(workers, len(items)) <= 1:
        yield from ((item, partial(work, item)) for item in items)
        return
    with ProcessPoolExecutor(
        min(workers, len(items)),
        mp_context=multiprocessing.get_context("forkserver" if _FORKS else "spawn"),
        initializer=_begin,
        initargs=(work,),
    ) as pool:
        futures = [pool.submit(_do, item) for item in items]
        try:
            yield from (
                (item, partial(_done, future)) for item, future in zip(items, futures, strict=True)
            )
        finally:
            for future in futures:
                future.cancel()


def _done(future: Future[_R]) -> _R:
    """Return a result, or raise what the work raised.

    Raises:
        NotAvailableError: The system ended a process.
    """
    try:
        return future.result()
    except BrokenProcessPool:
        msg = (
            "the system ended a worker, as it does when memory is short; use fewer --workers, then "
        )
        raise NotAvailableError(msg + "the same command goes on from here") from None


def _begin(work: Callable[[Any], Any]) -> None:
    """Take note, in a new process, of what is to be done there."""
    _work.append(work)


def _do(item: Any) -> Any:  # noqa: ANN401
    return _work[0](item)


def on_cluster() -> bool:
    """Return whether a cluster does the work."""
    return bool(_clusters)


@contextmanager
def cluster(address: str | None, *, threads: int = 1, gpu: bool = False) -> Iterator[None]:
    """Let the machines of a Ray cluster do what is spread.

    Args:
        address: HOST:PORT, auto, or ray://HOST:PORT; None leaves the work here.
        threads: Cores that a case takes.
        gpu: Whether a case takes a GPU where the cluster has any.

    Yields:
        Nothing; the cluster works inside.

    Raises:
        NotAvailableError: Ray is not installed, or no cluster answers.
    """
    if address is None:
        yield
        return
    try:
        ray = import_module("ray")
    except ModuleNotFoundError:
        msg = "--cluster needs Ray, which is not installed; pip install 'voxhint[cluster]'"
        raise NotAvailableError(msg) from None
    try:
        _require_listener(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        msg = f"no Ray cluster answers at '{address}' ({type(error).__name__}); start one with ray "
        raise NotAvailableError(msg + "start --head, and name the address that it prints") from None
    gpus = int(gpu and ray.cluster_resources().get("GPU", 0) > 0)
    _clusters.append((ray, {"num_cpus": threads, "num_gpus": gpus}))
    try:
        yield
    finally:
        _clusters.clear()
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Knock at HOST:PORT, since Ray waits for minutes where nobody is.

    Raises:
        OSError: Nobody listens there.
    """
    if found := re.fullmatch(r"(?:ray://)?([^/]+):(\d{1,5})", address):
        socket.create_connection((found[1].strip("[]"), int(found[2])), _KNOCK).close()


def _over_cluster(
    work: Callable[[_T], _R], items: Sequence[_T]
) -> Iterator[tuple[_T, Callable[[], _R]]]:
    """Yield each item in order; Ray gives one whose worker was lost, and no other, to a new one."""
    ray, takes = _clusters[0]
    do = ray.remote(_do_there).options(**takes, max_retries=_AGAIN, scheduling_strategy="SPREAD")
    shared, here = ray.put(work), (version("voxhint"), os.getcwd())  # noqa: PTH109  # a plain text
    found = [do.remote([shared], here, item) for item in items]
    # where the caller gives up, Ray ends what is left as the cluster is let go
    yield from ((item, partial(_result, ray, one)) for item, one in zip(items, found, strict=True))


@lru_cache(maxsize=1)
def _fetched(shared: Any) -> Callable[[Any], Any]:  # noqa: ANN401
    """Return the work, which a worker unpacks once for all its items."""
    work: Callable[[Any], Any] = import_module("ray").get(shared)
    return work


def _do_there(shared: Sequence[Any], here: tuple[str, str], item: Any) -> Any:  # noqa: ANN401
    """Do the work for an item on a machine of the cluster, where paths are to mean the same.

    Returns:
        The result.

    Raises:
        NotAvailableError: Another version is there, or not the same disk.
    """
    own, folder = here
    if version("voxhint") != own:
        msg = f"{node()} has voxhint {version('voxhint')}, and not {own}; install one"
        raise NotAvailableError(msg)
    try:
        os.chdir(folder)
    except OSError:
        msg = f"{node()} has no {folder}; start from a folder that all machines share"
        raise NotAvailableError(msg) from None
    return _fetched(shared[0])(item)


def _result(ray: Any, one: Any) -> Any:  # noqa: ANN401
    """Return a result, or raise what the work raised.

    Raises:
        NotAvailableError: One worker after the other was lost, or lacks voxhint.
    """
    try:
        return ray.get(one)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ModuleNotFoundError):
            msg = f"a machine of the cluster has no {error.cause.name}; install voxhint on all"
            raise NotAvailableError(msg) from None
        raise error.cause from None
    except ray.exceptions.RayError as error:
        msg = (
            f"{_AGAIN + 1} workers of the cluster were lost in turn ({type(error).__name__}); look "
        )
        raise NotAvailableError(
            msg + "at their memory, then start the same command again"
        ) from None
