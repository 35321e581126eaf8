"""What values a knob may take, and the one place that refuses others."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, get_type_hints

from annotated_types import Ge, Gt, Le
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    create_model,
)

from voxhint.core.errors import BadRecipeError

Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
Weight = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Ge(0), Le(1)]

_V = TypeVar("_V")
_K = TypeVar("_K", bound="Knobs")

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
ADVICE = "; see `voxhint help knobs`"
_MOST = 40  # characters of a value that are told


class Knobs:
    """A frozen dataclass of knobs, each in its range however the object was made.

    The command line, recipes and Python all make these objects, so that all refuse the same values
    in the same words.
    """

    __slots__ = ()
    __pydantic_config__ = _STRICT

    def __post_init__(self) -> None:
        """Check every knob, and keep it as the type that it is declared with.

        Raises:
            BadRecipeError: A value is out of its range.
        """
        values = {knob.name: getattr(self, knob.name) for knob in dataclasses.fields(self)}  # type: ignore[arg-type]
        try:
            known = _model(type(self)).model_validate(values)  # type: ignore[arg-type]
        except ValidationError as error:
            raise BadRecipeError(finding(error) + ADVICE) from None
        for name in values:
            object.__setattr__(self, name, getattr(known, name))
        self.require_sense()

    def require_sense(self) -> None:
        """Refuse knobs that contradict each other.

        Raises:
            BadRecipeError: They do.
        """


@cache
def _model(kind: type[Knobs]) -> type[BaseModel]:
    hints = get_type_hints(kind, include_extras=True)
    knobs: dict[str, Any] = {
        knob.name: (hints[knob.name], ...)
        for knob in dataclasses.fields(kind)  # type: ignore[arg-type]
    }
    return create_model(kind.__name__, __config__=_STRICT, **knobs)


def in_range(kind: Any, value: _V, name: str) -> _V:  # noqa: ANN401
    """Return a value that is no knob of a dataclass, such as a seed, if it is in its range.

    Args:
        kind: One of the ranges of this page.
        value: What was given.
        name: As a person writes it.

    Returns:
        The same value.

    Raises:
        BadRecipeError: It is out of its range.
    """
    try:
        TypeAdapter(kind, config=_STRICT).validate_python(value)
    except ValidationError as error:
        raise BadRecipeError(finding(error, name) + ADVICE) from None
    return value


def finding(error: ValidationError, *above: str) -> str:
    """Return the first finding of pydantic as `place: what is wrong`, in one line.

    Args:
        error: What pydantic found.
        above: Names of where the value lies.
    """
    first = error.errors()[0]
    told = repr(first["input"])
    told = told if len(told) <= _MOST else f"{told[:_MOST]}..."
    wrong = first["msg"][:1].lower() + first["msg"][1:]
    if wrong.startswith("input "):
        wrong = told + wrong.removeprefix("input")
    place = ".".join(map(str, (*above, *first["loc"])))
    return " ".join(f"{place}: {wrong}".split())


def read_by(parse: Callable[[str], object]) -> AfterValidator:
    """Return the range of texts that a reader of ours takes; it refuses others in its own words."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


def changed(config: _K, knobs: Mapping[str, object]) -> _K:
    """Return knobs with some of them set anew, those of inner tables included.

    Args:
        config: Knobs to start from.
        knobs: Values by name, such as `tags.method`.

    Returns:
        The knobs, every value checked.

    Raises:
        BadRecipeError: A value is out of its range.
    """
    inner: dict[str, dict[str, object]] = {}
    own: dict[str, object] = {}
    for name, value in knobs.items():
        table, _, rest = name.partition(".")
        if rest:
            inner.setdefault(table, {})[rest] = value
        else:
            own[name] = value
    tables = {table: changed(getattr(config, table), values) for table, values in inner.items()}
    return dataclasses.replace(config, **own, **tables)  # type: ignore[type-var]
