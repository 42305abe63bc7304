"""Plain values from files that may be damaged or hostile: bounded in size and depth, checked, safe to print."""

import errno
import json
from io import BufferedReader
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import yaml

MOST_BYTES = 64 << 20  # of a file that is read as text
MOST_OF_ANY = 16 << 30  # twice a checkpoint of the largest network there may be: 10 ** 9 parameters, with momentum
MOST_YAML = 1 << 20
MOST_DEPTH = 10  # of YAML

SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML was built with it: 8x


def only_file(path: Path) -> Path:
    """Return the path of what is a file, or nothing yet: a pipe or a device may never end. OSError: it is no file."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is no file", str(path))
    return path


def open_file(path: Path) -> BufferedReader:
    """Open a file to read, and nothing else. OSError: it cannot be, is no file, or larger than any of ours."""
    if only_file(path).stat().st_size > MOST_OF_ANY:  # a sparse file takes no room
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

    OSError: it cannot be read; ValueError: it is no such file.
    """
    text, depth = read_text(path, MOST_YAML), 0
    try:
        for event in yaml.parse(text, Loader=SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > MOST_DEPTH:
                raise ValueError(f"{path.name} has references, or is nested too deeply")
        plain = yaml.load(text, Loader=SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path.name}: {' '.join(str(error).split())}") from None
    if not isinstance(plain, dict):
        raise ValueError(f"{path.name} is not a mapping")
    return plain


def fits(value: Any, kind: Any) -> bool:
    """Tell whether a plain value is of a type, as annotations say it: numbers of at most 2 ** 53."""
    if isinstance(kind, UnionType):
        return any(fits(value, option) for option in get_args(kind))
    if kind is Any:
        return True
    if kind in (None, NoneType):
        return value is None
    if kind in (int, float):
        return type(value) in (int, kind) and not abs(value) > 2**53
    inner = get_args(kind)
    if type(value) is dict and get_origin(kind) is dict:
        return all(fits(key, inner[0]) and fits(item, inner[1]) for key, item in value.items())
    if type(value) is list and get_origin(kind) is list:
        return all(fits(item, inner[0]) for item in value)
    return type(value) is kind


def printable(text: str) -> str:
    """Return a text in one line without signs that a terminal would obey."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in " ".join(text.split()))
