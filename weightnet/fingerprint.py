"""What a run's numbers come from, besides its config: the code that it reaches, the data, the version of torch.

**Code.** The definitions (functions, classes, assignments at the top of a module) that a run may reach: from those that
every run goes through (`ENTRANCES`) and those that its config names (`weightnet.registry`), over every name that they
mention, to definitions of this package. Each is hashed as a syntax tree without comments, docstrings and formatting.
So a new feedback makes no finished run stale, and an edit of one makes those stale that reach it. Of the user's own
code (`weightnet.own`), the modules that the config names count as wholes, and what they reach of this package. No torch
in here: the code is read, not imported. The idea: pytest-testmon, and targets for R.

**Data.** The content of the files that hold the data set. **Convolutions**: the native kernel's, or torch's.
"""

import ast
import fnmatch
import glob
import hashlib
import itertools
import os
import re
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from weightnet import native, registry
from weightnet.config import Config, DatasetConfig
from weightnet.own import is_own, parsed, sources
from weightnet.waiting import waiting

ENTRANCES = ("weightnet.experiment:Training", "weightnet.net.data:load", "weightnet.net.model:WeightNet",
             "weightnet.net.training:build_optimizer", "weightnet.net.training:fit")  # fmt: skip
"""Every run goes through these."""

NOT_FOLLOWED = tuple(f"weightnet.{name}" for name in ("config", "errors", "fingerprint", "own", "registry"))
"""Modules that hold no arithmetic: the values of a config's fields and what its names mean are looked at themselves."""

GONE = "gone"  # instead of 8 hex digits: a file of the user's own that cannot be read
MOST_ENTRIES = 100_000  # of folders that are looked at for it
MOST_BYTES = 4 << 30
MOST_FILES = 10_000  # of a data set: whoever has more of them names those that matter (`dataset.files`)
NATIVE = "(C)"  # the C file beside a module, of the same name: reached with any of the module's definitions
REST = "(statements)"  # what stands at the top of a module and defines nothing: reached with any of its definitions
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Origin:
    """What numbers come from. Two origins are compared by `difference`."""

    code: str  # 12 hex digits of all definitions; of runs recorded before 2026-11-25, of all files
    definitions: dict[str, str]  # "net.feedback.PoolFeedback" -> 8 hex digits; empty if recorded before 2026-11-25
    data: str | None  # 12 hex digits; None where unknown
    torch: str | None  # version
    convolutions: str | None = None  # "native" or "torch" (`weightnet.native`); None: no choice, or before 2026-11-27

    def difference(self, other: "Origin") -> str:
        """Say in what the other origin differs; nothing ("") where it does not, or where it cannot be known."""
        found = []
        if self.code != other.code and self.definitions and other.definitions:
            changed = sorted({name for name, _ in self.definitions.items() ^ other.definitions.items()})
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            if gone := [name for name in changed if other.definitions.get(name) == GONE]:
                found.append(f"{', '.join(gone)} cannot be read")
            else:
                found.append(f"{', '.join(changed[:3])}{more} changed")
        elif self.code != other.code:
            found.append(f"code {self.code or 'unknown'}, recorded as a whole")
        if self.data and other.data and self.data != other.data:
            found.append("data changed")
        if self.torch != other.torch:
            found.append(f"torch {self.torch}, now {other.torch}")
        if self.convolutions and other.convolutions and self.convolutions != other.convolutions:
            found.append(f"{self.convolutions} convolutions, now {other.convolutions}")
        return "; ".join(found)


def origins(configs: Iterable[Config]) -> Iterator[Origin]:
    """Yield what the numbers of each resolved config would come from, if it were run now."""
    torch = version("torch")
    data: dict[str, str | None] = {}  # looked at once for all
    for config in configs:
        model, dataset = config.model, config.dataset
        named = [
            (registry.READERS, dataset.reader or dataset.name), (registry.FEEDBACKS, model.feedback),
            (registry.BIAS_RATES, model.feedback), (registry.KINDS, model.kind), (registry.SCALES, model.scale),
        ]  # fmt: skip
        builtin = [table[name] for table, name in named if name in table]
        code, definitions = _code(tuple(builtin), tuple(own_targets(config)), os.getcwd())
        key = repr((config.data_root, dataset.name, dataset.files))
        if key not in data:
            data[key] = data_hash(dataset, config.data_root)
        yield Origin(code, definitions, data[key], torch, native.convolutions(config))


def own_targets(config: Config) -> list[str]:
    """Return the names that a config gives to code of the user's own."""
    named = (config.model.feedback, config.dataset.reader, *config.eval.metrics.values())
    return [name for name in named if name is not None and is_own(name)]


def forget() -> None:
    """Take fingerprints anew, where `weightnet.own.forget` has forgotten code."""
    _code.cache_clear()


@lru_cache
def _code(named: tuple[str, ...], own: tuple[str, ...] = (), folder: str = "") -> tuple[str, dict[str, str]]:
    """Return the hash of all definitions that a run reaches which names these, and that of each.

    `own`: of the user's own, relative to `folder`, the working directory.
    """
    found: dict[str, str] = {}
    ahead = [target.replace(":", ".") for target in (*ENTRANCES, *named)]
    for target in own:
        for name, text in sources(target).items():
            found[name] = _digest_of_own(text) if text is not None else GONE
            ahead += _reached(text or "")
    while ahead:
        target = ahead.pop()
        module, _, name = target.rpartition(".")
        if name == "*":
            ahead += [f"{module}.{word}" for word in _source(module)]
        elif target not in found and name in (source := _source(module)):
            found[target], mentions = source[name]
            ahead += [*mentions, f"{module}.{REST}", f"{module}.{NATIVE}"]
    definitions = {name.removeprefix("weightnet."): digest for name, digest in sorted(found.items()) if digest}
    whole = "\n".join(f"{name} {digest}" for name, digest in definitions.items())
    return hashlib.sha256(whole.encode()).hexdigest()[:12], definitions


def _digest_of_own(text: str) -> str:
    try:
        return _digest(_plain(parsed(text).body) or text)
    except RecursionError:  # parsed, but nested too deep for us: then its comments count too
        return _digest(text)


def _digest(form: object) -> str:
    return hashlib.sha256(repr(form).encode()).hexdigest()[:8]


def _reached(text: str) -> Iterator[str]:
    """Yield the dotted names of this package's definitions that a module of the user's own mentions."""
    tree = parsed(text)
    imports = _imports(tree)
    yield from imports.values()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, *rest = ast.unparse(node).split(".")
            yield ".".join([imports.get(first, first), *rest])
            yield ast.unparse(node)  # `import weightnet.net.feedback` binds the first part alone


def _imports(tree: ast.AST) -> dict[str, str]:
    """Return name -> dotted name of what is imported, also within functions."""
    imports: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            whence = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            imports |= {alias.asname or alias.name.partition(".")[0]: whence + alias.name for alias in node.names}
    return imports


@cache
def _source(module: str) -> dict[str, tuple[str, set[str]]]:
    """Read a module of this package, once: name -> hash of its definition ("": imported), dotted names it mentions."""
    path = Path(__file__).parent.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not module.startswith("weightnet.") or module in NOT_FOLLOWED or not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    tree, scopes = ast.parse(text), symtable.symtable(text, str(path), "exec").get_children()
    imports = _imports(tree)
    source = {name: ("", {whole}) for name, whole in imports.items()}
    if (beside := path.with_suffix(".c")).exists():
        source[NATIVE] = _digest(_COMMENT.sub(" ", beside.read_text(encoding="utf-8")).split()), set()
    bodies: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _defined(statement):
            bodies.setdefault(name, []).append(statement)
    for name, statements in bodies.items():
        global_names = {word for scope in scopes if scope.get_name() == name for word in _global_names(scope)}
        mentions = {word for statement in statements for word in _mentions(statement, module, imports, global_names)}
        foreign = sorted(mention for mention in mentions if not mention.startswith("weightnet."))
        source[name] = _digest((_plain(statements), foreign)), mentions
    return source


def _defined(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement at the top of a module defines, or changes (`TABLE["key"] = ...`)."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
            yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))
    elif not isinstance(statement, ast.Import | ast.ImportFrom) and not _is_docstring(statement):
        yield REST


def _global_names(scope: symtable.SymbolTable) -> Iterator[str]:
    """Yield the names that a scope takes from its module or imports itself: not its own variables of the same name."""
    yield from (symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global() or symbol.is_imported())
    for inner in scope.get_children():
        yield from _global_names(inner)


def _mentions(statement: ast.stmt, module: str, imports: dict[str, str], global_names: set[str]) -> Iterator[str]:
    """Yield the dotted names of what a statement mentions: of its own module, imported, or `imported.name`."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        body, around = (
            set(map(id, statement.body)),
            list[ast.AST]([statement]),
        )  # what stands before the body belongs to the module
        for node in around:
            around += [child for child in ast.iter_child_nodes(node) if id(child) not in body]
    else:
        around = list(ast.walk(statement))
    global_names = global_names | {node.id for node in around if isinstance(node, ast.Name)}
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and node.id in global_names:
            yield imports.get(node.id, f"{module}.{node.id}")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imports:
            if node.value.id in global_names:
                yield f"{imports[node.value.id]}.{node.attr}"


def _plain(node: Any) -> Any:
    """Return a syntax tree as nested tuples, without docstrings (a string that is a statement does nothing).

    Not `ast.dump`, whose form differs between versions of Python.
    """
    if isinstance(node, list):
        return [_plain(item) for item in node if not _is_docstring(item)]
    if not isinstance(node, ast.AST):
        return node
    parts = [(name, _plain(value)) for name, value in ast.iter_fields(node) if value not in (None, [])]
    return type(node).__name__, parts


def _is_docstring(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def data_hash(dataset: DatasetConfig, root: str) -> str | None:
    """Return 12 hex digits of the content of the files below `root` that hold a data set, None where there are none."""
    patterns = dataset.files if dataset.files is not None else [f"{glob.escape(dataset.name)}*"]
    looked = itertools.count(1)
    try:
        starts = sorted({path for pattern in patterns for path in _below(Path(root), Path(pattern).parts, looked)})
        files = [path for start in starts for path in ([start] if start.is_file() else _all(start, looked))]
        stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.is_file()]
        bounded = len(stamps) < MOST_FILES and sum(size for _, size, _ in stamps) < MOST_BYTES
        return _content(root, tuple(stamps)) if stamps and bounded else None
    except (OSError, ValueError, NotImplementedError, RecursionError):  # patterns that are none, forbidden files
        return None


def _all(folder: Path, looked: Iterator[int]) -> list[Path]:
    return sorted(_below(folder, ("**", "*"), looked))


def _below(folder: Path, parts: tuple[str, ...], looked: Iterator[int]) -> Iterator[Path]:
    """Yield what `Path.glob` does; ValueError: too much to look at, which any run's config may ask for."""
    if not parts:
        yield folder
        return
    deep, rest = parts[0] == "**", parts[1:]
    if deep:
        yield from _below(folder, rest, looked)
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if next(looked) > MOST_ENTRIES:
                raise ValueError(f"more than {MOST_ENTRIES} files and folders")
            if deep and entry.is_dir(follow_symlinks=False):
                yield from _below(Path(entry), parts, looked)
            elif not deep and fnmatch.fnmatchcase(entry.name, parts[0]):
                yield from _below(Path(entry), rest, looked)


@lru_cache
def _content(root: str, stamps: tuple[tuple[str, int, int], ...]) -> str:
    """Hash names and contents; size and time of change make it look again."""
    whole = hashlib.sha256()
    for name, size, _ in waiting(stamps, "reading the data set's files"):
        with open(name if size else os.devnull, "rb") as file:  # what has no size may never end, as in /proc
            digest = hashlib.file_digest(file, "sha256").digest()
        whole.update(f"{Path(name).relative_to(root).as_posix()}\0".encode() + digest)
    return whole.hexdigest()[:12]


# at import: of the code that runs, should a file change meanwhile
_code((*registry.FEEDBACKS.values(), *registry.READERS.values(), *registry.KINDS.values()))
