"""Types and shapes in annotations, checked while tests run: of a function from its first call on.

The hook that comes with jaxtyping wraps each function at import, and has all that a module imports
compiled anew: PyTorch and MONAI with it.
"""

import ast
import sys
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import CodeType, ModuleType
from typing import Any, get_args, get_type_hints

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, jaxtyped

Function = Callable[..., Any]

_TYPED = "_typed"
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # whole numbers are floats, as for mypy


def has_shape(annotation: object) -> bool:
    """Return whether an annotation tells the shape of an array."""
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    return any(map(has_shape, get_args(annotation)))


def _resolved(annotation: object, names: dict[str, Any]) -> object:
    """Return an annotation without quotes; what only a type checker knows may be anything."""
    holder = type("", (), {"__annotations__": {"told": annotation}})
    try:
        return get_type_hints(holder, names, names, include_extras=True)["told"]
    except (AttributeError, NameError):
        return Any


def _checked(function: Function) -> Function:
    if isgeneratorfunction(function):  # checked when called, not when first asked for a value
        return jaxtyped(function, typechecker=_check)
    names = function.__globals__
    function.__annotations__ = {
        name: _resolved(annotation, names) for name, annotation in function.__annotations__.items()
    }
    checked = _check(function)
    if not any(map(has_shape, function.__annotations__.values())):
        return checked

    def in_scope(*args: object, **options: object) -> object:
        __tracebackhide__ = True
        with jaxtyped("context"):  # a letter stands for one size within one call
            return checked(*args, **options)

    return in_scope


def typed(function: Function) -> Function:
    """Return a function that checks what it takes and returns; a dataclass checks its fields."""
    if isinstance(function, type):
        if is_dataclass(function) and "__init__" in vars(function):
            setattr(function, "__init__", typed(vars(function)["__init__"]))  # noqa: B010
        return function
    if iscoroutinefunction(function) or isasyncgenfunction(function):
        return _check(function)  # whoever calls it asks what it is
    checked: list[Function] = []

    @wraps(function)
    def call(*args: object, **options: object) -> object:
        __tracebackhide__ = True
        if not checked:
            checked.append(_checked(function))
        return checked[0](*args, **options)

    return call


class _Marking(ast.NodeVisitor):
    """Puts the decorator on everything: innermost on functions, outermost on classes."""

    def _mark(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        name = ast.copy_location(ast.Name(_TYPED, ast.Load()), node)
        outermost = isinstance(node, ast.ClassDef)
        node.decorator_list.insert(0 if outermost else len(node.decorator_list), name)
        self.generic_visit(node)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _mark  # noqa: N815


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:  # type: ignore[explicit-override]  # Python 3.12
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path), path)
        _Marking().visit(tree)
        return compile(tree, path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:  # type: ignore[explicit-override]
        vars(module)[_TYPED] = typed
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def find_spec(  # type: ignore[explicit-override]
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "voxhint":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def check_types() -> None:
    """Have the types of voxhint checked; it may not be imported yet."""
    assert "voxhint" not in sys.modules
    sys.meta_path.insert(0, _Finder())
