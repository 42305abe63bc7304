"""Code of the user's own: `my_file.py:Name`, below the working directory or wherever it says, or `my.module:Name`.

It is found, read and fingerprinted without being executed; only `definition` executes it, when a config that was asked
for names it. No torch in here.
"""

import ast
import inspect
import json
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin

from weightnet.errors import UserError

MOST_BYTES = 1 << 20  # of a file of source code: a config that is read may name anything
MOST_FILES = 100


named: set[str] = set()
"""What a config that was asked for in this process has named, and may therefore be executed."""


def is_own(name: str | None) -> bool:
    """Tell whether what a config names is code of the user's own, not a built-in's short name."""
    return name is not None and ":" in name


def definition(target: str, key: str) -> Any:
    """Return what `my_file.py:Name` or `my.module:Name`, the value of a config's key, means: executes that module.

    UserError: there is no such file, module or name, or it cannot be executed; says where.
    """
    where, _, name = target.rpartition(":")
    if not where or not name.isidentifier():
        raise UserError(f"{key}={target}: must be my_file.py:Name or my.module:Name")
    if where == "__main__":
        raise UserError(f"{key}={target}: what a notebook or a script defines is not there for the processes that "
                        f"execute runs; write it to a file: my_file.py:{name}")  # fmt: skip
    named.add(target)
    path = find(target)
    if path is None:
        there = f"no file {where} in {Path.cwd()}" if where.endswith(".py") else f"no module {where}"
        raise UserError(f"{key}={target}: there is {there}")
    if where.endswith(".py") and _text(path) is None:
        raise UserError(f"{key}={target}: {where} cannot be read: it must be UTF-8, of at most {MOST_BYTES:,} bytes")
    try:
        module = _executed(path) if where.endswith(".py") else _imported(where)
    except Exception as error:
        raise UserError(f"{key}={target}: {explained(error)}") from error
    if not hasattr(module, name):
        names = [word for word, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        raise UserError(f"{key}={target}: {where} defines no {name}; it has {', '.join(names) or 'nothing'}")
    return getattr(module, name)


def explained(error: BaseException) -> str:
    """Return an error in the user's code as a line that says where: "TypeError: ... (my_file.py, line 3)"."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"SyntaxError: {error.msg} ({Path(error.filename).name}, line {error.lineno})"
    places = [
        f" ({Path(frame.filename).name}, line {frame.lineno})"
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_NOT_THEIRS) and "-packages" not in frame.filename
    ]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{places[-1] if places else ''}"


_NOT_THEIRS = (str(Path(__file__).parent), sysconfig.get_path("stdlib"), "<")  # where their code does not lie


def _imported(module: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    return import_module(module)


@cache
def _executed(path: Path) -> ModuleType:
    """Execute a file as a module, once a process, from the text that its fingerprint is taken of."""
    name = f"{path.stem} of {path.parent}"  # cannot be mistaken for a module that is imported
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look for it
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # as for a script: it may import what lies beside it
    try:
        exec(compile(_text(path) or "", str(path), "exec"), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def find(target: str) -> Path | None:
    """Return the file that holds the definition which a target names, without executing anything; or None."""
    where = target.rpartition(":")[0]
    if where.endswith(".py"):
        path = Path(where).absolute()
        return path if os.path.isfile(path) else None  # False also where one may not look
    search: list[str] | None = [*sys.path, str(Path.cwd())]
    origin: str | None = None
    parts = where.split(".")
    for number in range(1, len(parts) + 1):  # not importlib.util.find_spec, which executes the packages on the way
        spec = PathFinder.find_spec(".".join(parts[:number]), search) if search else None
        if spec is None:
            return None
        origin, search = spec.origin, list(spec.submodule_search_locations or [])
    return Path(origin) if origin and origin.endswith(".py") else None


_texts: dict[Path, str | None] = {}
_absent: set[str] = set()  # targets of which there was no file


def _text(path: Path) -> str | None:
    """Read a file of source code, once a process (but for `forget`); None where it cannot be, or is none."""
    if path not in _texts:
        _texts[path] = _read(path)
    return _texts[path]


def forget() -> bool:
    """Forget all that was read and executed, if a file of it has changed since; tell whether one has.

    For processes that outlive an edit: what they execute next is what its fingerprint is taken of, as ever.
    """
    if all(_read(path) == text for path, text in _texts.items()) and not any(map(find, _absent)):
        return False
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "") in _texts:
            del sys.modules[name]
    _texts.clear()
    _absent.clear()
    _executed.cache_clear()
    return True


def _read(path: Path) -> str | None:
    try:
        if not os.path.isfile(path) or path.stat().st_size > MOST_BYTES:
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def sources(target: str) -> dict[str, str | None]:
    """Return the texts of the file that a target names and of those beside it that it imports, by their names.

    None where a file cannot be read. What lies elsewhere (installed packages) does not count.
    """
    where, path = target.rpartition(":")[0], find(target)
    if path is None:
        _absent.add(target)
        return {where: None}
    root = path.parent if where.endswith(".py") else path.parents[where.count(".") + (path.name == "__init__.py")]
    only = where.partition(".")[0] if "-packages" in str(root) else ""
    ahead, seen, found = [path], {path}, dict[str, str | None]()
    while ahead and len(found) < MOST_FILES:
        path = ahead.pop()
        text = _text(path)
        found[path.relative_to(root).as_posix() if found else where] = text
        ahead += [file for file in _beside(text or "", path, root, only) if file not in seen]
        seen.update(ahead)
    return found


def files(target: str) -> dict[Path, str]:
    """Return the texts of `sources`, by where a copy of them has to lie to be found from there by the same name.

    Nothing of a package that is installed. UserError: the target lies outside of the working directory.
    """
    where, path = target.rpartition(":")[0], find(target)
    texts = {name: text for name, text in sources(target).items() if text is not None}
    if path is None or not texts:
        return {}
    if where.endswith(".py"):
        if Path(where).is_absolute() or ".." in Path(where).parts:
            raise UserError(f"{target}: must lie below {Path.cwd()} and be named from there, so that it can be copied")
        return {Path(where) if name == where else Path(where).parent / name: text for name, text in texts.items()}
    root = path.parents[where.count(".") + (path.name == "__init__.py")]
    if "-packages" in str(root):
        return {}
    packages = [folder / "__init__.py" for folder in path.parents if folder.is_relative_to(root) and folder != root]
    found = {file.relative_to(root): _text(file) or "" for file in packages if os.path.isfile(file)}
    return found | {path.relative_to(root) if name == where else Path(name): text for name, text in texts.items()}


def _beside(text: str, path: Path, root: Path, only: str) -> Iterator[Path]:
    """Yield the files below `root` that a module imports (`only`: of that package)."""
    for node in ast.walk(parsed(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = path.parent if not node.level else path.parents[node.level - 1]
            package = ".".join(above.relative_to(root).parts) if node.level and above.is_relative_to(root) else ""
            module = ".".join(filter(None, (package, node.module)))
            names = [module, *(f"{module}.{alias.name}" if module else alias.name for alias in node.names)]
        for name in names:
            if name.partition(".")[0] not in ("weightnet", "") and (not only or name.partition(".")[0] == only):
                stem = root.joinpath(*name.split("."))
                for file in (stem.with_suffix(".py"), stem / "__init__.py"):
                    if os.path.isfile(file):
                        yield file


def parsed(text: str) -> ast.Module:
    """Return the syntax tree of a text, an empty one where it has none."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def bind(target: str, asked: dict[str, Any], dims: tuple[str, ...]) -> tuple[list[str], dict[str, Any]]:
    """Return which of `dims` the class of a feedback takes, and its other parameters: as asked, else its defaults.

    What it does not take is left out: a sweep's parameters are not those of all its models.

    UserError: it does not take dx, a parameter is missing, or of another type than the class says.
    """
    key = "model.feedback"
    function = definition(target, key)
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except (TypeError, ValueError, NameError) as error:
        raise UserError(f"{key}={target}: is no class with parameters ({explained(error)})") from error
    uses = [name for name in dims if name in parameters]
    if "dx" not in uses:
        raise UserError(f"{key}={target}: must take dx, the length of the vector that it returns")
    params: dict[str, Any] = {}
    name = target.rpartition(":")[2]
    for parameter in parameters.values():
        if parameter.kind == parameter.VAR_KEYWORD:
            params |= {word: value for word, value in asked.items() if word not in params}
        elif parameter.name in dims or parameter.kind == parameter.VAR_POSITIONAL:
            continue
        elif parameter.name in asked:
            params[parameter.name] = _typed(asked[parameter.name], parameter.annotation, parameter.name, name)
        elif parameter.default is parameter.empty:
            raise UserError(f"model.params.{parameter.name}: is missing; {name}{inspect.signature(function)} takes it")
        elif _is_plain(default := parameter.default):  # an int for a float is what asking for it would be
            whole = parameter.annotation is float and type(default) is int
            params[parameter.name] = float(default) if whole else default
    return uses, params


def _typed(value: Any, annotation: Any, word: str, name: str) -> Any:
    """Return the value as its annotation wants it, where that is one of the simple types (an int is a float too)."""
    wanted = get_origin(annotation) or annotation
    if wanted is float and type(value) is int:
        return float(value)
    if wanted in (int, float, bool, str, list, dict) and type(value) is not wanted:
        raise UserError(f"model.params.{word}={value}: {name} takes {wanted.__name__} for {word}")
    return value


def _is_plain(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False
