"""The science as the engine sees it: the one module of it that `weightnet.runs` and `weightnet.sweep` know.

What a run is (`Config`, `resolve`, `signature`, ...), what is known of it beforehand (`facts`, `work`, `origins`), and
how it is executed (`Training`, `probe`). To drive other experiments with the same engine, write another such module.
Importing this does not import torch; executing a run does.
"""

import ctypes
import io
import json
import platform
import shutil
import sys
import timeit
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightnet import fingerprint, native, own, registry
from weightnet.config import PARAMS, AnalysisConfig, Config, DatasetConfig, build, read_config
from weightnet.dose import dose, filler_share
from weightnet.fingerprint import ENTRANCES, Origin, origins, own_targets
from weightnet.geometry import carried, dropped, fed_back, map_bytes, parameter_count, training_examples, work
from weightnet.identity import arm, run_folder, run_id, shape, signature
from weightnet.net.epoch import METRICS, EpochResult
from weightnet.own import files, is_own
from weightnet.resolve import resolve as _resolve

if TYPE_CHECKING:
    from weightnet.net.data import Dataset
    from weightnet.net.training import OnStep

__all__ = [
    "GROUPS", "METRICS", "PARAMS", "AnalysisConfig", "Config", "EpochResult", "Origin", "Training", "arm", "build",
    "copy_code", "device_name", "facts", "forget_own_code", "import_code", "is_own", "keep_freed_memory", "origins",
    "prepare", "probe", "products", "read_config", "resolve", "run_folder", "run_id", "shape", "signature", "slower",
    "untaken", "work",
]  # fmt: skip

GROUPS = {"dataset": "dataset.name", "model": "model.name", "dims": "dims.rule"}  # group -> key that names its choice


def resolve(config: Config) -> Config:
    """Return the config with nothing left open (`weightnet.resolve`), the user's own code in it tried out.

    UserError: a value is impossible, the dimensions do not fit, or that code does not do what is asked of it.
    """
    config = _resolve(config)
    if config.eval.metrics or is_own(config.model.feedback) or is_own(config.dataset.reader):
        from weightnet.net.trial import try_out  # here: it imports torch

        try_out(config)
    return config


def untaken(asked: Config, resolved: Iterable[Config]) -> str:
    """Say what was asked of the model that none of the resolved configs takes, "" if there is no such key.

    (A sweep's parameters are not those of all its models.)
    """
    configs = list(resolved)
    taken = {config.model.name: sorted(config.model.params) for config in configs}
    for key, value in (("kind", asked.model.kind), ("scale", asked.model.scale)):
        if value is not None and not any(config.model.feedback == "projection" for config in configs):
            return f"model.{key}={value}: {', '.join(taken)} takes no {key}; model=projection does"
    for key in asked.model.params:
        if not any(key in params for params in taken.values()):
            takes = [f"{name} takes {', '.join(params) or 'no parameters (those of dims apart)'}"
                     for name, params in taken.items()]  # fmt: skip
            return f"model.params.{key}: there is no such parameter; {'; '.join(takes)}"
    return ""


def products(config: Config) -> list[str]:
    """Return the names of the files that a finished run leaves because its config asks for them."""
    asked = {"model.pt": config.train.save_model, "predictions.npz": config.eval.save_predictions}
    return [name for name in asked if asked[name]]


def facts(config: Config) -> dict[str, Any]:
    """Return what is known of a resolved config's run beforehand.

    `parameters` (a number), `dx` and `dw` (how many numbers are fed back, and how many of them are made of weights),
    `dose` and `filler_share` (`weightnet.dose`), `map` (bytes of its random map), `note` (what is worth a warning, or
    None).
    """
    known: dict[str, Callable[[Config], Any]] = {
        "parameters": parameter_count, "dx": fed_back, "dw": carried, "dose": dose, "filler_share": filler_share,
        "map": map_bytes, "note": dropped,
    }  # fmt: skip
    return {name: of(config) for name, of in known.items()}


def device_name(config: Config) -> str:
    """Return what the run is executed on, for its record."""
    if config.device != "cuda":
        return f"cpu ({platform.machine()})"
    import torch

    return str(torch.cuda.get_device_name())


def slower(configs: Iterable[Config]) -> str:
    """Say why resolved configs take longer here than they could, and what would help; "" where they do not."""
    if not any(map(native.fits, configs)) or not (why := native.why_not()):
        return ""
    return f"without weightnet's own convolutions, runs like these take 2 to 4 times as long; {why}"


def copy_code(configs: Iterable[Config], folder: Path) -> None:
    """Copy the code that runs may reach, the user's own included, as it is now: to be executed from that folder.

    UserError: code of the user's own lies outside of the working directory.
    """
    sources = [files(target) for target in dict.fromkeys(name for config in configs for name in own_targets(config))]
    package = Path(__file__).parent
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in (item for texts in sources for item in texts.items()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def forget_own_code() -> None:
    """Read the user's own code anew where it has been edited, in a process that lives on (`weightnet.own.forget`)."""
    if own.forget():
        fingerprint.forget()
        sys.modules.pop("weightnet.net.trial", None)  # what it has tried out


def import_code() -> None:
    """Import all code that a run may reach: at once, so that what runs is what its fingerprint was taken of."""
    for target in (*ENTRANCES, *registry.FEEDBACKS.values(), *registry.READERS.values(), *registry.KINDS.values()):
        import_module(target.partition(":")[0])


class Training:
    """A run that is being executed: data, network and optimiser."""

    def __init__(self, config: Config) -> None:
        """Load the data of a resolved config, or raise a UserError if they are not to be had."""
        prepare(config)
        self.config, (now,) = config, origins([config])
        dataset, train = json.dumps(asdict(config.dataset)), config.train
        self.data = _load(dataset, config.data_root, train.subset, train.validation, config.device, now.data)

    def build(self) -> None:
        """Build the network and its optimiser."""
        from weightnet.net.model import WeightNet
        from weightnet.net.training import build_optimizer

        metrics = self.config.eval.metrics
        self.metrics = {name: registry.locate({}, target, f"eval.metrics.{name}") for name, target in metrics.items()}
        self.model = WeightNet(self.config).to(self.config.device)
        self.optimizer = build_optimizer(self.model, self.config.train)

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.config.train.epochs * -(-len(self.data.train) // self.config.train.batch_size)

    def epochs(self, *, done: int, on_step: "OnStep | None" = None) -> Iterator[EpochResult]:
        """Train from epoch `done` + 1 to the last, and yield each epoch's result."""
        from weightnet.net.training import fit

        config = self.config
        return fit(
            self.model, self.optimizer, self.data, config.train,
            seed=config.seed, done=done, metrics=self.metrics, on_step=on_step,
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return all that a resumed run needs, besides the number of epochs done."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def products(self) -> dict[str, bytes]:
        """Return the contents of `products(config)`: the network's state dict, the class of each test example."""
        import numpy
        import torch

        from weightnet.net.training import evaluate

        buffers = {name: io.BytesIO() for name in products(self.config)}
        if buffer := buffers.get("model.pt"):
            torch.save(self.model.state_dict(), buffer)
        if buffer := buffers.get("predictions.npz"):
            _, _, logits = evaluate(self.model, self.data.test, self.config.train.test_batch_size)
            numpy.savez(buffer, predictions=logits.argmax(dim=1).to(torch.uint8).cpu().numpy())
        return {name: buffer.getvalue() for name, buffer in buffers.items()}


def prepare(config: Config) -> None:
    """Set this process up for a run: its threads, deterministic kernels."""
    import torch

    torch.set_num_threads(config.threads)
    torch.backends.cudnn.deterministic = True


def keep_freed_memory() -> None:
    """Keep up to 1 GiB of freed memory in this process, in blocks of up to 32 MiB (the most that glibc allows).

    A training step frees and takes the same blocks again and again. glibc returns large ones to the system each time,
    and touching fresh pages takes longer than the arithmetic on them. Elsewhere than on Linux with glibc: does nothing.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "gnu_get_libc_version"):
        libc.mallopt(mmap_threshold, 32 << 20)
        libc.mallopt(trim_threshold, 1 << 30)


@lru_cache(maxsize=1)
def _load(
    dataset: str, root: str, subset: int | None, validation: int | None, device: str, content: str | None
) -> "Dataset":
    """Keep the last data set, while its files' content is the same: the next run of this process will most likely want
    it. `dataset` is its config as JSON.
    """
    from weightnet.net.data import load

    config = DatasetConfig(**json.loads(dataset))
    return load(config, Path(root), subset=subset, validation=validation, device=device)


LARGE_MAP = 100e6  # bytes of a random map that a probe does not draw (for CIFAR-10, 5 s and 1.58 GB)
READ_RATE = 20e9  # bytes of such a map that a core reads in a second, each number once a step: 16e9 to 29e9


def probe(config: Config) -> float:
    """Return the seconds of an epoch of a resolved config, projected from a few steps on random images."""
    import torch

    keep_freed_memory()
    threads = torch.get_num_threads()
    prepare(config)
    from weightnet.net.data import Split
    from weightnet.net.model import WeightNet
    from weightnet.net.training import build_optimizer, evaluate, train_step

    map_seconds = 0.0
    if map_bytes(config) > LARGE_MAP:
        map_seconds = map_bytes(config) / READ_RATE
        config = replace(config, model=replace(config.model, kind="sparse"))
    train, test_examples = config.train, config.dataset.examples[1]
    model = WeightNet(config).to(config.device)
    optimizer = build_optimizer(model, train)
    size, test_size = train.batch_size, min(train.test_batch_size, test_examples)
    count = max(size, test_size)
    images = torch.randn(count, *config.dataset.shape, generator=torch.Generator().manual_seed(0))
    images = images.to(config.device, memory_format=torch.channels_last)
    labels = torch.zeros(count, dtype=torch.int64, device=config.device)
    batch, test = (images[:size], labels[:size]), Split(images[:test_size], labels[:test_size])
    # .item() waits for the device
    step = _fastest(lambda: train_step(model, optimizer, *batch).item(), calls=8) + map_seconds
    evaluation = _fastest(lambda: evaluate(model, test, len(test)), calls=3) / len(test)  # of an example
    torch.set_num_threads(threads)
    return step * training_examples(config) / size + evaluation * (test_examples + (train.validation or 0))


def _fastest(what: Callable[[], object], calls: int) -> float:
    """Return the seconds that a call takes, warm: the least of so many, or of as many as fill a tenth of a second."""
    times: list[float] = []
    while len(times) < calls or sum(times) < 0.1:
        times.append(timeit.timeit(what, number=1))
    return min(times)
