"""What a run's numbers come from, besides its config: the code that it reaches, the data, the version of torch.

**Code.** The definitions (functions, classes, assignments at the top of a module) that a run may reach: from those that
every run goes through (`ENTRANCES`) and those that its config names (`weightnet.registry`), over every name that they
mention, to definitions of this package. Each is hashed as a syntax tree without comments, docstrings and formatting.
So a new feedback makes no finished run stale, and an edit of one makes those stale that reach it. No torch in here: the
code is read, not imported. The idea: pytest-testmon, and targets for R.

**Data.** The content of the files that hold the data set.
"""

import ast
import glob
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from weightnet import registry
from weightnet.config import Config, DatasetConfig

PACKAGE = "weightnet"
ENTRANCES = tuple(
    f"{PACKAGE}.net.{name}" for name in ("data:load", "model:WeightNet", "training:build_optimizer", "training:fit")
)
"""What `weightnet.experiment.Training` calls: every run goes through these."""

NOT_FOLLOWED = tuple(f"{PACKAGE}.{name}" for name in ("config", "errors", "registry"))
"""Modules that hold no arithmetic: the values of a config's fields and what its names mean are looked at themselves."""


REST = "(statements)"
"""What stands at the top of a module and defines nothing: reached with any of its definitions."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What numbers come from. Two origins are compared by `difference`."""

    code: str
    """12 hex digits of all definitions; of runs recorded before 2026-11-25, of all files."""
    definitions: dict[str, str]
    """Definition ("net.feedback.PoolFeedback") -> 8 hex digits. Empty for runs recorded before 2026-11-25."""
    data: str | None
    """12 hex digits; None where unknown."""
    torch: str | None
    """Version."""

    def difference(self, other: "Origin") -> str:
        """Say in what the other origin differs; nothing ("") where it does not, or where it cannot be known."""
        found = []
        if self.code != other.code:
            found.append(self._code_difference(other))
        if self.data and other.data and self.data != other.data:
            found.append("data changed")
        if self.torch != other.torch:
            found.append(f"torch {self.torch}, now {other.torch}")
        return "; ".join(found)

    def _code_difference(self, other: "Origin") -> str:
        if not self.definitions or not other.definitions:
            return f"code {self.code or 'unknown'}, recorded as a whole"
        names = sorted(self.definitions.keys() | other.definitions.keys())
        changed = [name for name in names if self.definitions.get(name) != other.definitions.get(name)]
        shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        return f"{shown} changed"


def origins(configs: Iterable[Config]) -> Iterator[Origin]:
    """Yield what the numbers of each resolved config would come from, if it were run now."""
    data: dict[str, str | None] = {}  # looked at once for all
    for config in configs:
        code, definitions = _code(_named(config))
        key = repr((config.data_root, config.dataset.name, config.dataset.files))
        if key not in data:
            data[key] = data_hash(config.dataset, config.data_root)
        yield Origin(code, definitions, data[key], _torch())


@cache
def _torch() -> str:
    return version("torch")


def _named(config: Config) -> tuple[str, ...]:
    """Return the definitions that a resolved config names."""
    model = config.model
    choices = [
        (registry.READERS, config.dataset.name), (registry.FEEDBACKS, model.feedback),
        (registry.BIAS_RATES, model.feedback), (registry.KINDS, model.kind), (registry.SCALES, model.scale),
    ]  # fmt: skip
    return tuple(table[name] for table, name in choices if name in table)


@lru_cache
def _code(named: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Return the hash of all definitions that a run reaches, and that of each."""
    definitions = {
        f"{module.removeprefix(PACKAGE + '.')}.{name}": _source(module).hashes[name]
        for module, name in sorted(_reached((*ENTRANCES, *named)))
    }
    whole = "\n".join(f"{name} {digest}" for name, digest in definitions.items())
    return hashlib.sha256(whole.encode()).hexdigest()[:12], definitions


def _reached(targets: tuple[str, ...]) -> set[tuple[str, str]]:
    """Return (module, name) of every definition that these reach."""
    found: set[tuple[str, str]] = set()
    ahead = [tuple(target.split(":")) for target in targets]
    while ahead:
        module, name = ahead.pop()
        source = _source(module)
        if name in source.imports:  # defined elsewhere
            ahead.append(source.imports[name])
        elif name in source.hashes and (module, name) not in found:
            found.add((module, name))
            ahead += [*source.mentions[name], (module, REST)]
    return found


@dataclass(slots=True)
class _Source:
    """A module of this package as text: its definitions, and what they mention."""

    hashes: dict[str, str] = field(default_factory=dict)
    mentions: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """Name -> (module, name) that its definition mentions."""
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Local name -> (module, name) of this package; of a module itself, name is ""."""
    foreign: dict[str, str] = field(default_factory=dict)
    """Local name -> what it is of another package."""


@cache
def _source(module: str) -> _Source:
    """Read a module, once."""
    source = _Source()
    if module in NOT_FOLLOWED or not module.startswith(f"{PACKAGE}."):
        return source
    path = _path(module)
    if not path.exists():
        return source
    tree = ast.parse(path.read_text(encoding="utf-8"))
    _read_imports(tree, source)
    bodies: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _defined(statement):
            bodies.setdefault(name, []).append(statement)
    for name, statements in bodies.items():
        mentions = {pair for statement in statements for pair in _mentions(statement, module, source.imports)}
        foreign = sorted(source.foreign[word] for _, word in mentions if word in source.foreign)
        plain = repr(([_plain(statement) for statement in statements], foreign))
        source.hashes[name] = hashlib.sha256(plain.encode()).hexdigest()[:8]
        source.mentions[name] = mentions
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


def _read_imports(tree: ast.AST, source: _Source) -> None:
    """Note what a module imports, at its top or inside a function."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            local = alias.asname or alias.name.partition(".")[0]
            whole = f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
            if whole.partition(".")[0] != PACKAGE:
                source.foreign[local] = whole
            elif _path(whole).exists():
                source.imports[local] = (whole, "")
            else:
                source.imports[local] = (whole.rpartition(".")[0], alias.name)


def _path(module: str) -> Path:
    """Return where a module of this package is, if it is one."""
    path = Path(__file__).parent.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _mentions(statement: ast.stmt, module: str, imports: dict[str, tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of what a statement mentions: names of its own module, imported ones, `module.name`."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield imports.get(node.id, (module, node.id))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            inside, name = imports.get(node.value.id, ("", "?"))
            if name == "":
                yield inside, node.attr


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
    """Return 12 hex digits of the content of the files that hold a data set, None where there are none.

    Args:
        dataset: `files` says which, as patterns below `root`.
        root: `data_root`.
    """
    patterns = dataset.files if dataset.files is not None else [f"{glob.escape(dataset.name)}*"]
    found = sorted({path for pattern in patterns for path in Path(root).glob(pattern)})
    files = [path for start in found for path in ([start] if start.is_file() else sorted(start.rglob("*")))]
    stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.is_file()]
    return _content(root, tuple(stamps)) if stamps else None


@lru_cache
def _content(root: str, stamps: tuple[tuple[str, int, int], ...]) -> str:
    """Hash names and contents; size and time of change make it look again."""
    whole = hashlib.sha256()
    for name, _, _ in stamps:
        with open(name, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        whole.update(f"{Path(name).relative_to(root).as_posix()}\0".encode() + digest)
    return whole.hexdigest()[:12]


for _target in (*ENTRANCES, *registry.FEEDBACKS.values(), *registry.READERS.values(), *registry.KINDS.values()):
    _source(_target.partition(":")[0])  # at import: of the code that runs, should a file change meanwhile
