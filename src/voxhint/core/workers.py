"""Work on many cases, in this process or spread over several."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_work: list[Callable[[Any], Any]] = []


def spread(
    work: Callable[[T], R], items: Sequence[T], workers: int
) -> Iterator[tuple[T, Callable[[], R]]]:
    """Yield each item in order, and what gives its result or raises its error.

    Args:
        work: Is done for every item; what it holds is sent once to every process.
        items: In the order of the results.
        workers: Processes; with one the work is done here, when its result is asked for.
    """
    if min(workers, len(items)) <= 1:
        yield from ((item, partial(work, item)) for item in items)
        return
    # a fork would leave threads of libraries behind
    with ProcessPoolExecutor(
        min(workers, len(items)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(work,),
    ) as pool:
        futures = [pool.submit(_do, item) for item in items]
        try:
            yield from ((item, future.result) for item, future in zip(items, futures, strict=True))
        finally:
            for future in futures:
                future.cancel()


def _begin(work: Callable[[Any], Any]) -> None:
    """Take note, in a new process, of what is to be done there."""
    _work.append(work)


def _do(item: Any) -> Any:  # noqa: ANN401
    return _work[0](item)
