"""The JSON that Newtonsoft.Json reads."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.lenient_json import read_value

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_all_json_is_read(value: Any, ascii_only: bool, indent: int | None) -> None:
    assert read_value(json.dumps(value, ensure_ascii=ascii_only, indent=indent), deepest=64) == json.loads(
        json.dumps(value, ensure_ascii=ascii_only)
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a":1,}', {"a": 1}),
        ("{'a':'b'}", {"a": "b"}),
        ("{$tb:5,a_b:1}", {"$tb": 5, "a_b": 1}),
        ('{"a":0x1F,"b":010}', {"a": 31, "b": 8}),
        ('{"a":[1,,2,]}', {"a": [1, None, 2]}),
        ('{"a":"x\n"}', {"a": "x\n"}),
        ('{"a":1}x', {"a": 1}),
        ('{"a":Infinity,"b":undefined}', {"a": float("inf"), "b": None}),
        ('{"a":1,"a":2}', {"a": 2}),
    ],
)
def test_more_than_json_is_read(text: str, value: object) -> None:
    assert read_value(text, deepest=64) == value


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a"', '{"a":', '{"a":1', '{"a" 1}', '{"a":1 "b":2}', "{,}", '{"a":nul}', '{"a":1_0}', r'{"a":"\x"}', '//c\n{"a":1}', '"a'],
)
def test_what_newtonsoft_cannot_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_value(text, deepest=64)


def test_too_deep_a_value_is_refused() -> None:
    assert read_value("[" * 64 + "]" * 64, deepest=64)
    with pytest.raises(ValueError, match="more than 64"):
        read_value("[" * 65 + "]" * 65, deepest=64)
    with pytest.raises(ValueError, match="more than 64"):
        read_value("[" * 200_000, deepest=64)
