"""Plain values from files that may be damaged or hostile: bounded in size and depth, checked, safe to print."""

import errno
import json
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import cache, lru_cache
from io import BufferedReader
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import yaml

MOST_BYTES = 64 << 20  # of a file that is read as text
MOST_OF_ANY = 16 << 30  # twice a checkpoint of the largest network there may be: 10 ** 9 parameters, with momentum
MOST_YAML = 1 << 20
MOST_DEPTH = 10  # of YAML
MOST_GROUP = 2000  # signs of a group of a config that is remembered

SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML was built with it: 8x
_GROUPS = re.compile(r"^(?=\w+:)", re.MULTILINE)


def only_file(path: Path) -> Path:
    """Return the path of what is a file, or nothing yet: a pipe or a device may never end. OSError: it is no file."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is no file", str(path))
    return path


def open_file(path: Path) -> BufferedReader:
    """Open a file to read, and nothing else. OSError: it cannot be, is no file, or larger than any of ours."""
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "is no file", str(path))
    if state.st_size > MOST_OF_ANY:  # a sparse file takes no room
        raise OSError(errno.EFBIG, f"is larger than {MOST_OF_ANY >> 30} GB", str(path))
    return path.open("rb")


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """Return a text file. OSError: it cannot be read, or is no file; ValueError: it is no text, or too large."""
    with open_file(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{path.name} is larger than {most >> 20} MB")
    return content.decode()


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping that a JSON file holds. OSError: it cannot be read; ValueError: it is none."""
    try:
        plain = json.loads(read_text(path))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
    if not isinstance(plain, dict):
        raise ValueError(f"{path.name} is not a mapping")
    return plain


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds: no references (they may grow without bound), no depth.

    Files of runs share most of their groups, as text: each of these is parsed once. OSError: it cannot be read;
    ValueError: it is no such file.
    """
    text = read_text(path, MOST_YAML)
    before, *groups = _GROUPS.split(text)
    if not before and max(map(len, groups), default=MOST_GROUP) < MOST_GROUP:
        with suppress(ValueError):  # a line in the middle of a value looks like a key: the whole says what it is
            return {key: _copy(value) for group in groups for key, value in _group(group, path.name).items()}
    return _mapping(text, path.name)


def _mapping(text: str, name: str) -> dict[str, Any]:
    """Return the mapping that the text of a file of this name holds. ValueError: it is none that can be ours."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > MOST_DEPTH:
                raise ValueError(f"{name} has references, or is nested too deeply")
        plain = yaml.load(text, Loader=SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{name}: {' '.join(str(error).split())}") from None
    if not isinstance(plain, dict):
        raise ValueError(f"{name} is not a mapping")
    return plain


_group = lru_cache(maxsize=4096)(_mapping)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def as_mapping(record: Any) -> dict[str, Any]:
    """Return a dataclass's fields as they are, name -> value; `asdict` would copy all that is in them."""
    return {item.name: getattr(record, item.name) for item in fields(record)}


def fits(value: Any, kind: Any) -> bool:
    """Tell whether a plain value is of a type, as annotations say it: numbers of at most 2 ** 53."""
    return _check(kind)(value)


@cache
def _check(kind: Any) -> Callable[[Any], bool]:
    inner = [_check(part) for part in get_args(kind)]
    if isinstance(kind, UnionType):
        return lambda value: any(check(value) for check in inner)
    if kind is Any:
        return lambda value: True
    if kind in (None, NoneType):
        return lambda value: value is None
    if kind in (int, float):
        return lambda value: type(value) in (int, kind) and not abs(value) > 2**53
    if get_origin(kind) is dict:
        return lambda value: type(value) is dict and all(map(inner[0], value)) and all(map(inner[1], value.values()))
    if get_origin(kind) is list:
        return lambda value: type(value) is list and all(map(inner[0], value))
    return lambda value: type(value) is kind


def printable(text: str) -> str:
    """Return a text in one line without signs that a terminal would obey."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in " ".join(text.split()))
