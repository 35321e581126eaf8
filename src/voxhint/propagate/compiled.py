"""Compiles functions that loop over voxels, when they are first called."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function, compiled; numba takes a while to load."""
    import numba

    # what checks the shapes of arguments while tests run cannot be compiled
    found: Callable[..., Any] = numba.njit(cache=True)(inspect.unwrap(function))
    return found
