"""Arguments and results as JSON: what round-trips, what is refused before anything is stored, and how it is said."""

from __future__ import annotations

import functools
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional
from uuid import UUID

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import (
    ConfigurationError,
    InvalidFlow,
    PayloadTooDeep,
    PayloadTooLarge,
    UnsafeText,
    Unserialisable,
    ValidationError,
)
from mainspring.model.codec import MAX_BYTES, MAX_DEPTH, WARN_BYTES, ArgumentsCodec, PayloadWarning, ResultCodec
from mainspring.model.holes import Pending
from mainspring.model.secrets import Secret

if TYPE_CHECKING:
    from nowhere import Nothing  # type: ignore[import-not-found]


class Context:
    """Stands for what the worker injects."""


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: float = 0.0
    raw: bytes = b""


@dataclass
class Named:
    name: str
    day: date


class Order(pydantic.BaseModel):
    number: int
    lines: list[Point]
    placed: datetime


async def send_welcome(user_id: int, email: str, *, copies: int = 1) -> dict[str, Any]:
    return {"to": email, "user": user_id, "copies": copies}


def call(codec: ArgumentsCodec, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The call as the worker makes it, after a round trip."""
    return codec.decode(codec.encode(args, kwargs))


def codec_of(annotation: Any) -> ArgumentsCodec:
    def task(value):  # type: ignore[no-untyped-def]
        return value

    task.__annotations__ = {"value": annotation, "return": annotation}
    return ArgumentsCodec(task)


# --- round trips -----------------------------------------------------------------------------------------------------

text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
moments = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30))
points = st.builds(Point, st.integers(-(2**63), 2**63), st.floats(allow_nan=False), st.binary(max_size=20))
decimals = st.decimals(allow_nan=False, allow_infinity=False)
orders = st.builds(
    Order,
    number=st.integers(),
    lines=st.lists(st.builds(Point, st.integers(), st.floats(allow_nan=False, allow_infinity=False)), max_size=3),
    placed=moments,
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=10,
)
TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, st.floats(allow_nan=False)),
    (bool, st.booleans()),
    (str, text),
    (bytes, st.binary(max_size=50)),
    (None, st.none()),
    (datetime, moments | moments.map(lambda moment: moment.replace(tzinfo=UTC))),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas(timedelta(days=-9999), timedelta(days=9999))),
    (UUID, st.uuids()),
    (Decimal, decimals),
    (Colour, st.sampled_from(Colour)),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (Path, st.from_regex(r"[a-z/]{1,9}", fullmatch=True).map(Path)),
    (PurePosixPath, st.just(PurePosixPath("/tmp/x"))),
    (Point, points),
    (Order, orders),
    (list[datetime], st.lists(moments, max_size=3)),
    (tuple[int, str], st.tuples(st.integers(), text)),
    (tuple[bytes, ...], st.lists(st.binary(max_size=5), max_size=3).map(tuple)),
    (set[int], st.sets(st.integers(), max_size=3)),
    (frozenset[str], st.frozensets(text, max_size=3)),
    (dict[str, Point], st.dictionaries(text, points, max_size=3)),
    (dict[int, Decimal], st.dictionaries(st.integers(), decimals, max_size=3)),
    (dict[UUID, list[set[int]]], st.dictionaries(st.uuids(), st.lists(st.sets(st.integers(), max_size=2), max_size=2))),
    (int | None, st.none() | st.integers()),
    (int | str, st.integers() | text),
    (Any, plain),
    (pydantic.JsonValue, st.dictionaries(text, st.lists(st.integers(), max_size=3), max_size=3)),
    (Annotated[int, pydantic.Field(gt=0)], st.integers(1)),
]
CODECS = [(codec_of(annotation), values) for annotation, values in TYPES]


@given(st.data(), st.sampled_from(CODECS))
def test_every_type_comes_back_as_it_went_in(data: st.DataObject, case: tuple[ArgumentsCodec, Any]) -> None:
    codec, values = case
    value = data.draw(values)
    stored = codec.encode((value,), {})
    (back,) = codec.decode(stored)[1].values()
    assert back == value
    assert type(back) is type(value)
    assert codec.encode((), {"value": back}) == stored
    json.loads(stored, parse_constant=pytest.fail)


class Basket(pydantic.BaseModel):
    tags: frozenset[str] = frozenset()


def test_equal_sets_are_equal_as_json_in_every_process() -> None:
    """The order of a set of texts hangs on the seed of the process's hashes, and keys of unique jobs on the JSON."""
    words = [f"word {number}" for number in range(20)]
    for annotation, value, stored in (
        (set[str], set(words), sorted(words)),
        (list[frozenset[int]], [frozenset({6, -1, -2})], [[-1, -2, 6]]),
        (Basket, Basket(tags=frozenset(words)), {"tags": sorted(words)}),
    ):
        codec = codec_of(annotation)
        text = codec.encode((value,), {})
        assert json.loads(text)["value"] == stored
        assert codec.decode(text)[1]["value"] == value


def test_floats_that_json_does_not_know_come_back_too() -> None:
    for value in (math.inf, -math.inf, math.nan):
        stored = codec_of(float).encode((value,), {})
        assert json.loads(stored, parse_constant=pytest.fail)
        back = codec_of(float).decode(stored)[1]["value"]
        assert back == value or (math.isnan(back) and math.isnan(value))


def test_what_is_not_annotated_comes_back_as_json_has_it() -> None:
    codec = codec_of(Any)
    back = call(codec, (1, {2}, datetime(2024, 1, 1), b"\xff", math.nan, Point(1)))[1]["value"]
    assert back == [1, [2], "2024-01-01T00:00:00", "_w==", "NaN", {"x": 1, "y": 0.0, "raw": ""}]


# --- calls -----------------------------------------------------------------------------------------------------------


def test_positional_arguments_are_stored_by_name_and_defaults_are_not() -> None:
    codec = ArgumentsCodec(send_welcome)
    assert codec.encode((7, "a@b.c"), {}) == '{"user_id":7,"email":"a@b.c"}'
    assert codec.encode((7,), {"email": "a@b.c"}) == codec.encode((), {"email": "a@b.c", "user_id": 7})
    assert codec.encode((7, "a@b.c"), {"copies": 1}) == '{"user_id":7,"email":"a@b.c","copies":1}'
    assert codec.decode('{"user_id":7,"email":"a@b.c"}') == ((), {"user_id": 7, "email": "a@b.c"})


def every_kind(a: int, b: int = 2, /, c: int = 3, *rest: date, d: int = 4, **named: date) -> Any:
    return a, b, c, rest, d, named


DAY = date(2024, 11, 22)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1,), {}),
        ((1, 5), {}),
        ((1, 5, 6), {}),
        ((1, 5, 6, DAY, DAY), {}),
        ((1,), {"c": 9, "d": 8, "extra": DAY, "a": DAY, "rest": DAY, "named": DAY}),
        ((1, 2, 3, DAY), {"d": 5, "z": DAY}),
    ],
)
def test_every_kind_of_parameter_survives(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    back_args, back_kwargs = call(ArgumentsCodec(every_kind), *args, **kwargs)
    assert every_kind(*back_args, **back_kwargs) == every_kind(*args, **kwargs)


def test_a_default_fills_a_gap_before_positional_arguments() -> None:
    args, kwargs = ArgumentsCodec(every_kind).decode('{"a":1,"rest":["2024-11-22"]}')
    assert every_kind(*args, **kwargs) == every_kind(1, 2, 3, DAY)


class Mailer:
    def send(self, number: int) -> int:
        return number

    def __call__(self, number: int) -> int:
        return number


@functools.wraps(send_welcome)
def wrapped(*args: Any, **kwargs: Any) -> Any:
    return send_welcome(*args, **kwargs)


@pytest.mark.parametrize(
    "function",
    [Mailer().send, Mailer(), functools.partial(Mailer().send), functools.partial(functools.partial(Mailer()))],
)
def test_methods_partials_and_callable_objects_are_functions_too(function: Callable[..., Any]) -> None:
    codec = ArgumentsCodec(function)
    args, kwargs = call(codec, 5)
    assert function(*args, **kwargs) == 5
    with pytest.raises(ValidationError):
        codec.encode(("x",), {})


def test_a_wrapped_function_is_known_by_what_it_wraps() -> None:
    assert call(ArgumentsCodec(wrapped), 1, "a")[1] == {"user_id": 1, "email": "a"}


def test_arguments_that_a_partial_fixes_are_optional() -> None:
    codec = ArgumentsCodec(functools.partial(send_welcome, 7, email="a@b.c"))
    assert codec.encode((), {}) == "{}"
    assert codec.encode((), {"email": "x"}) == '{"email":"x"}'


def test_an_unannotated_parameter_takes_anything() -> None:
    def task(a, b=1):  # type: ignore[no-untyped-def]
        pass

    assert call(ArgumentsCodec(task), [1, None], {"x": 1.5})[1] == {"a": [1, None], "b": {"x": 1.5}}


def test_arguments_as_json_text_are_checked_like_any_others() -> None:
    codec = ArgumentsCodec(every_kind)
    assert codec.encode_text(' {"a": "1", "rest": ["2024-11-22"]} ') == '{"a":1,"b":2,"c":3,"rest":["2024-11-22"]}'
    assert codec_of(bytes).encode_text('{"value":"_w=="}') == '{"value":"_w=="}'
    for wrong in ('{"a":"x"}', "{", "[]", "{}", '{"a":1,"z":2}', '{"a":"\\ud800"}'):
        with pytest.raises(ValidationError):
            codec.encode_text(wrong)
    for unsafe in ('{"value":"a\\ud800"}', '{"value":"a\\u0000"}'):
        with pytest.raises(UnsafeText):
            codec_of(str).encode_text(unsafe)


def test_whatever_a_type_of_the_users_raises_about_a_text_is_a_refusal() -> None:
    def refuse(value: Any) -> Any:
        raise RuntimeError(f"cannot look at {value}")

    odd = Annotated[int, pydantic.PlainValidator(refuse)]
    with pytest.raises(ValidationError, match=r"cannot take these arguments.*cannot look at 5"):
        codec_of(odd).encode_text('{"value": 5}')
    with pytest.raises(ValidationError) as refused:
        codec_of(Secret[odd]).encode_text('{"value": 12345}')
    assert "12345" not in str(refused.value)


def test_the_result_of_another_job_is_no_argument_outside_a_flow() -> None:
    with pytest.raises(InvalidFlow, match=r"task 'task': argument 'value' is <the result of job a>"):
        codec_of(str).encode((Pending(("a",)),), {})


def test_the_calls_and_results_of_one_job_for_several_items_are_kept_together() -> None:
    codec, points = codec_of(date), ResultCodec(returns_points)
    assert codec.decode_each(codec.encode_each([DAY, "2024-11-22"])) == [
        ((), {"value": DAY}),
        ((), {"value": date(2024, 11, 22)}),
    ]
    results = [{"here": Named("a", DAY)}, {}]
    assert points.decode_each(points.encode_each(results)) == results
    with pytest.raises(ValidationError, match="not a date"):
        codec.encode_each([DAY, "not a date"])


def test_several_items_together_are_as_large_as_arguments_and_results_may_be() -> None:
    many = ["x" * (MAX_BYTES // 2)] * 3
    for encode in (codec_of(str).encode_each, ResultCodec(returns_text).encode_each):
        with pytest.raises(PayloadTooLarge), warnings.catch_warnings(action="ignore"):
            encode(many)


def test_a_schema_says_what_a_task_takes() -> None:
    schema = ArgumentsCodec(send_welcome).json_schema()
    assert schema["required"] == ["user_id", "email"]
    assert schema["properties"]["copies"]["type"] == "integer"


# --- the injected parameter ------------------------------------------------------------------------------------------


def context_first(ctx: Context, number: int) -> None: ...
def context_optional(number: int, ctx: Context | None = None) -> None: ...
def context_old_style(number: int, ctx: Optional[Context] = None) -> None: ...  # noqa: UP045
def context_annotated(number: int, *, ctx: Annotated[Context, "the job"]) -> None: ...
def context_after_rest(number: int, *rest: int, ctx: Context, **named: int) -> None: ...


@pytest.mark.parametrize(
    "function", [context_first, context_optional, context_old_style, context_annotated, context_after_rest]
)
def test_the_injected_parameter_is_left_out_and_named(function: Callable[..., Any]) -> None:
    codec = ArgumentsCodec(function, injected=Context)
    assert codec.injected_name == "ctx"
    args, kwargs = call(codec, 5)
    function(*args, ctx=Context(), **kwargs)
    with pytest.raises(ValidationError, match="ctx"):
        codec.encode((5,), {"ctx": 3})
    assert "ctx" not in codec.json_schema()["properties"]


def test_without_such_a_parameter_there_is_no_name() -> None:
    assert ArgumentsCodec(send_welcome, injected=Context).injected_name is None
    assert ArgumentsCodec(send_welcome).injected_name is None


def context_before_rest(ctx: Context, *rest: int) -> None: ...
def context_positional(ctx: Context, /) -> None: ...
def contexts(*ctx: Context) -> None: ...
def two_contexts(one: Context, other: Context) -> None: ...


@pytest.mark.parametrize("function", [context_before_rest, context_positional, contexts, two_contexts])
def test_an_injected_parameter_that_cannot_be_given_by_keyword_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError, match=rf"function .*{function.__name__}: .*; (declare|keep)"):
        ArgumentsCodec(function, injected=Context)


# --- refusals --------------------------------------------------------------------------------------------------------


def unresolvable(value: Nothing) -> None: ...
def unknown_type(value: Context) -> None: ...
def unknown_result() -> Context: ...  # type: ignore[empty-body]


@pytest.mark.parametrize("function", [unresolvable, unknown_type])
def test_annotations_without_a_json_form_are_refused_when_the_task_is_declared(function: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError, match=rf"^function .*{function.__name__}: "):
        ArgumentsCodec(function)


def test_a_result_annotation_without_a_json_form_is_refused_too() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown_result: result of task 'unknown_result': .*Context"):
        ResultCodec(unknown_result)


def test_a_function_without_a_readable_signature_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="signature cannot be read"):
        ArgumentsCodec(iter)


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        (("seven", "a"), {}, "user_id='seven': Input should be a valid integer"),
        ((7,), {}, "email is missing"),
        ((7, "a"), {"name": "x"}, "name='x' is not known"),
        ((7, "a", 3), {}, "too many positional arguments"),
        ((7,), {"user_id": 7, "email": "a"}, "multiple values for argument 'user_id'"),
        ((7, None), {}, "email=None: Input should be a valid string"),
    ],
)
def test_a_wrong_call_is_refused_by_task_parameter_and_value(
    args: tuple[Any, ...], kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as refusal:
        ArgumentsCodec(send_welcome, task="mail.welcome").encode(args, kwargs)
    assert said in str(refusal.value)
    assert "task 'mail.welcome'" in str(refusal.value)
    assert "it takes (user_id: int, email: str, *, copies: int = 1)" in str(refusal.value)


def test_the_place_inside_a_value_is_shown_and_long_lists_of_problems_are_cut() -> None:
    codec = codec_of(list[dict[str, int]])
    with pytest.raises(ValidationError, match=r"value\[1\]\.b='x'"):
        codec.encode(([{"a": 1}, {"b": "x"}],), {})
    with pytest.raises(ValidationError, match="and 95 more"):
        codec.encode(([{"b": "x"}] * 100,), {})


def test_a_wrong_value_inside_an_instance_is_found_before_it_is_stored() -> None:
    with pytest.raises(ValidationError, match=r"value\.x='far'"):
        codec_of(Point).encode((Point("far"),), {})  # type: ignore[arg-type]


def test_an_argument_stored_by_older_code_is_refused_clearly() -> None:
    with pytest.raises(ValidationError, match="old='x' is not known"):
        ArgumentsCodec(send_welcome).decode('{"user_id":1,"email":"a","old":"x"}')


@pytest.mark.parametrize("value", [object(), print, {"deep": [object()]}, 1j.__add__])
def test_what_json_cannot_carry_is_refused_by_name(value: Any) -> None:
    with pytest.raises(Unserialisable, match="arguments of task 'task': value="):
        codec_of(Any).encode((value,), {})
    with pytest.raises(Unserialisable):
        ResultCodec(context_first).encode(value)


def refuse(value: Any) -> Any:
    raise OSError("no dice")


def test_a_custom_serializer_that_raises_is_shown_with_its_value() -> None:
    odd = Annotated[dict[str, int], pydantic.PlainSerializer(refuse)]
    with pytest.raises(Unserialisable, match=r"\{'value': \{'a': 1\}\} has no JSON form: .*no dice"):
        codec_of(odd).encode(({"a": 1},), {})


class Attachment(pydantic.BaseModel):
    content: bytes


def test_bytes_in_a_model_are_as_its_own_configuration_has_them() -> None:
    with pytest.raises(Unserialisable, match='set ser_json_bytes="base64"'):
        codec_of(Attachment).encode((Attachment(content=b"\xff"),), {})
    assert call(codec_of(Attachment), Attachment(content=b"ok"))[1] == {"value": Attachment(content=b"ok")}


def test_a_secret_is_not_stored_as_asterisks() -> None:
    with pytest.raises(Unserialisable, match="secret"):
        codec_of(pydantic.SecretStr).encode((pydantic.SecretStr("hunter2"),), {})
    assert call(codec_of(str), "**********")[1] == {"value": "**********"}


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.fault("hostile arguments", "sqlite", "postgres", "redis")
def test_depth_is_limited_to_64_in_one_argument_and_in_a_result() -> None:
    codec, results = codec_of(Any), ResultCodec(context_first)
    assert call(codec, nested(MAX_DEPTH))[1] == {"value": nested(MAX_DEPTH)}
    assert results.decode(results.encode(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 100, 1000, 10_000):
        with pytest.raises(PayloadTooDeep):
            codec.encode((nested(depth),), {})
        with pytest.raises(PayloadTooDeep):
            results.encode(nested(depth))


@pytest.mark.parametrize("annotation", [Any, list[Any], pydantic.JsonValue, list[pydantic.JsonValue]])
def test_a_value_that_contains_itself_is_too_deep(annotation: Any) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(PayloadTooDeep):
        codec_of(annotation).encode((loop,), {})
    with pytest.raises(PayloadTooDeep):
        codec_of(annotation).encode((nested(10_000),), {})


def test_brackets_in_text_are_not_depth() -> None:
    value = ['[{"' * 50, "\\", '\\"[' * 100, [{}] * 100]
    assert call(codec_of(Any), value)[1] == {"value": value}


@pytest.mark.fault("hostile arguments", "sqlite", "postgres", "redis")
def test_size_is_limited_in_bytes_of_json() -> None:
    codec = codec_of(str)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(codec.encode(("x" * (MAX_BYTES - 12),), {})) == MAX_BYTES
    for value in ("x" * (MAX_BYTES - 11), "ü" * (MAX_BYTES // 2), '"' * (MAX_BYTES // 2)):
        with pytest.raises(PayloadTooLarge, match="keep the data in a file"):
            codec.encode((value,), {})


def test_much_is_warned_about_once_for_each_task() -> None:
    codec = codec_of(str)
    with pytest.warns(PayloadWarning, match="arguments of task 'task'"):
        codec.encode(("x" * WARN_BYTES,), {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codec.encode(("x" * WARN_BYTES,), {})
        codec_of(str).encode(("x" * 1000,), {})


@pytest.mark.parametrize(
    "value", ["a\x00b", "\x00", "\\\x00", {"\x00": 1}, ["\\\\\x00"], "\ud800", {"a": "\udfff"}, {"\ud800": 1}]
)
@pytest.mark.fault("hostile arguments", "sqlite", "postgres", "redis")
def test_arguments_with_nul_or_a_lone_surrogate_are_refused(value: Any) -> None:
    with pytest.raises(UnsafeText, match="; take it out"):
        codec_of(Any).encode((value,), {})


@given(st.lists(st.sampled_from(["\\", "u", "0", "\\u0000", "\x00", '"', "d800", "\ud800"]), max_size=8).map("".join))
def test_text_is_unsafe_exactly_if_it_has_such_a_character(value: str) -> None:
    if "\x00" in value or "\ud800" in value:
        with pytest.raises(UnsafeText):
            codec_of(str).encode((value,), {})
    else:
        assert call(codec_of(str), value)[1] == {"value": value}


# --- results ---------------------------------------------------------------------------------------------------------


@given(st.data(), st.sampled_from(TYPES))
def test_every_result_comes_back_as_it_went_in(data: st.DataObject, case: tuple[Any, Any]) -> None:
    annotation, values = case

    def task(): ...  # type: ignore[no-untyped-def]

    task.__annotations__ = {"return": annotation}
    codec = ResultCodec(task)
    value = data.draw(values)
    assert codec.decode(codec.encode(value)) == value


def returns_text() -> str: ...  # type: ignore[empty-body]
def returns_nothing() -> None: ...
def returns_points() -> dict[str, Named]: ...  # type: ignore[empty-body]


@given(st.text(st.characters(codec=None), max_size=20) | st.just("\\ud800 \ud800"))
def test_no_text_is_refused_in_a_result(value: str) -> None:
    for codec, result in (
        (ResultCodec(returns_text), value),
        (ResultCodec(returns_nothing), {"deep": [value, None]}),
        (ResultCodec(returns_points), {"here": Named(value, DAY)}),
    ):
        stored = codec.encode(result)
        assert stored.encode()
        assert "\x00" not in stored
        assert codec.decode(stored) == result


def test_a_result_that_does_not_fit_its_annotation_is_refused() -> None:
    codec = ResultCodec(returns_text, task="report")
    with pytest.raises(
        ValidationError, match=r"task 'report': its result does not fit .*: 5: Input should be a valid string"
    ):
        codec.encode(5)
    with pytest.raises(ValidationError):
        codec.decode("5")
    with pytest.raises(ValidationError):
        codec.decode("{")


def test_a_result_of_nothing_is_null() -> None:
    assert ResultCodec(returns_nothing).encode(None) == "null"
    assert ResultCodec(returns_nothing).decode("null") is None


def test_a_large_result_is_refused_by_size() -> None:
    with pytest.raises(PayloadTooLarge, match="result of task 'returns_text'"):
        ResultCodec(returns_text).encode("x" * MAX_BYTES)
    with pytest.raises(PayloadTooLarge):
        ResultCodec(returns_text).encode("\ud800" * 200_000)
