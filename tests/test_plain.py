from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightnet.plain import SafeLoader, fits, read_yaml

SCALARS = st.none() | st.booleans() | st.integers(-5, 2**40) | st.floats(allow_nan=False) | st.text(max_size=30)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plain=st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True) | st.text(max_size=9), VALUES, max_size=6))
def test_what_was_written_is_read_group_by_group_or_whole(tmp_path: Path, plain: dict[str, Any]) -> None:
    (tmp_path / "a.yaml").write_text(text := yaml.safe_dump(plain, sort_keys=False))
    for _ in range(2):  # groups that are remembered are not shared
        found = read_yaml(tmp_path / "a.yaml")
        assert found == yaml.load(text, SafeLoader)
        for value in found.values():
            value.clear() if isinstance(value, dict | list) else None


@pytest.mark.parametrize(
    "text",
    ["a: 1\nb:\n  c: [1,\n   2]\n", 'a: "x\nb: y"\n', "a: 'x\nb: y'\nc: 1\n", "a: |\n  x\n  b: 1\nb: 2\n",
     "a: 1\na: 2\n", "# said\na: 1\n", "{a: 1}\n", "a: [1,\nb: 2]\n", "a:\n- 1\n- b: 2\nb: 3\n", "a: >\n x\n\n y\n",
     "a: # c\n  1\n", "a:\n\nb: ~\n"],
)  # fmt: skip
def test_a_line_that_looks_like_a_key_need_not_be_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    try:
        expected = yaml.safe_load(text)
    except yaml.YAMLError:
        with pytest.raises(ValueError, match=r"a.yaml"):
            read_yaml(tmp_path / "a.yaml")
    else:
        assert read_yaml(tmp_path / "a.yaml") == expected


@pytest.mark.parametrize(
    "text", ["a: &x 1\nb: *x\n", "a: &x 1\nb: 2\nc: [*x]\n", f"a: {'[' * 20}{']' * 20}\n", "a\n", ""]
)
def test_references_and_depth_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"^a.yaml (has references, or is nested too deeply|is not a mapping)$"):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [(1, int, True), (1, float, True), (1.0, int, False), (True, int, False), (2**54, int, False),
     (float("nan"), float, True), (float("inf"), float, False), (None, int | None, True), ("1", int | None, False),
     ([1], list[int], True), ([1, "a"], list[int], False), ((1,), list[int], False), ({"a": 1}, dict[str, int], True),
     ({1: 1}, dict[str, int], False), ({"a": None}, dict[str, float | None], True), ({"a": []}, dict[str, Any], True),
     ([[1]], list[list[int]], True)],
)  # fmt: skip
def test_plain_values_are_of_types(value: Any, kind: Any, expected: bool) -> None:
    assert fits(value, kind) is expected
