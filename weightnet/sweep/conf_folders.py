"""Where YAML is found: ours, that of the working directory's `./conf`, and what `--config-dir` names."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra

from weightnet.errors import UserError
from weightnet.experiment import is_own

_PACKAGE = Path(__file__).resolve().parents[1]
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
"""The folder of our YAML files: inside an installed package, beside the package in a checkout."""

extra_folders: list[Path] = []  # of YAML, besides ours and the working directory's: see `users_folders`


@contextmanager
def config_loader(config_dir: str | None = None) -> Iterator[ConfigLoader]:
    """Yield Hydra's loader: the one of run.py where that is what runs, else one with `config_dir` as it takes it.

    UserError: there is no such folder.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        raise UserError(f"--config-dir={config_dir}: there is no such folder")
    extra_folders[:] = [Path(config_dir)] if config_dir is not None else []
    initialized = GlobalHydra.instance().is_initialized()
    with nullcontext() if initialized else initialize_config_dir(str(CONF), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def experiment_file(name: str) -> Path | None:
    """Return the YAML file of an experiment, ours before the user's; None: there is none."""
    files = (folder / "experiment" / f"{name}.yaml" for folder in (CONF, Path("conf"), *extra_folders))
    return next((path for path in files if os.path.isfile(path)), None)  # a name may be too long for one


def users_folders() -> Iterator[Path]:
    """Yield the folders of YAML beside the user's work, where Hydra looks after ours.

    Says on stderr which of their files are not read, because ours of the same name come first.
    """
    for folder in (Path.cwd() / "conf", *extra_folders):
        if folder.is_dir() and not folder.samefile(CONF):
            for path in sorted(folder.glob("*/*.yaml")):
                ours = CONF / path.relative_to(folder)
                if ours.exists() and ours.read_bytes() != path.read_bytes():
                    print(f"{path} is not read: weightnet has a {path.parent.name}={path.stem}; call it otherwise",
                          file=sys.stderr)  # fmt: skip
            yield folder.absolute()


def offer_own_models(overrides: Iterable[str]) -> None:
    """Let `model=my_file.py:MyFeedback`, also among others, choose a model of the user's own without YAML."""
    for override in overrides:
        key, _, values = override.partition("=")
        for value in values.split(",") if key == "model" else ():
            if is_own(value := value.strip(" '\"")):
                node = {"name": value.rpartition(":")[2], "feedback": value}
                *folders, name = value.split("/")
                store = ConfigStore.instance().store
                store(group="/".join(["model", *folders]), name=name, node=node, package="model", provider="weightnet")
