"""Mistakes in plain words: one line that says what is wrong and what would be right, instead of a traceback."""

import difflib
import os
import re
import shlex
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from weightnet.errors import RunFailed, UserError
from weightnet.experiment import PARAMS, AnalysisConfig, Config, is_own
from weightnet.plain import printable
from weightnet.sweep.conf_folders import experiment_file
from weightnet.sweep.interrupt import exit_status, received

_FULL_ERROR = "HYDRA_FULL_ERROR"
_DEBUGGING = os.environ.get(_FULL_ERROR) == "1"


@contextmanager
def plainly() -> Iterator[None]:
    """Turn the failures that are to be expected into a line on stderr and an exit status.

    2 for a user's mistake, 1 for a failed run, 130 for Ctrl-C (143 for SIGTERM, 129 for SIGHUP). HYDRA_FULL_ERROR=1
    shows the traceback instead. Whoever is no command line finds what was said as the cause of the SystemExit.
    """
    received.clear()
    if _DEBUGGING:
        yield
        return
    before = {name: value for name, value in os.environ.items() if name == _FULL_ERROR}
    os.environ[_FULL_ERROR] = "1"  # Hydra: let exceptions through to here
    cause: BaseException | None = None
    try:
        with understood():
            yield
        return
    except (UserError, RunFailed) as error:
        message, status, cause = str(error), 2 if isinstance(error, UserError) else 1, error
    except KeyboardInterrupt as error:
        message, cause = "interrupted; the same command goes on where this one stopped", error
        status = exit_status()
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            _end_quietly()
        message, status = f"cannot use {error.filename or 'a file'} ({error.strerror or error})", 1
    except Exception:  # a bug: Hydra would turn it into a warning where a callback raises it
        traceback.print_exc()
        raise SystemExit(1) from None
    finally:
        os.environ.pop(_FULL_ERROR, None)
        os.environ.update(before)
    print(f"weightnet: {message}", file=sys.stderr)
    raise SystemExit(status) from cause


@contextmanager
def understood() -> Iterator[None]:
    """Turn what Hydra, OmegaConf and YAML find wrong with what was asked into a UserError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise UserError(explain(error)) from None
    except ValueError as error:
        if not _is_hydras(error):
            raise
        raise UserError(explain(error)) from None


def program() -> str:
    """Return what runs weightnet from here: `python run.py` in a checkout, `weightnet` where it is installed."""
    if Path(sys.argv[0]).name == "run.py":
        return shlex.join(["python", os.path.relpath(sys.argv[0])])
    return "python run.py" if Path("run.py").exists() else "weightnet"


def _end_quietly() -> NoReturn:
    """End as whoever reads our output (`| head`) has ended."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(128 + signal.SIGPIPE) from None


_SEVERAL = re.compile(r"'\d+ *(\.\.+|-|:|;| ) *\d+'")  # as other languages write a range
_ELSEWHERE = {"learning_rate": "train.lr", "hidden_size": "dims.hidden"}
"""What other projects call keys of ours."""

_REFUSED = {
    r"~": "nothing can be taken out of the config; set it to another value, or null",
    r"\+*[\w./]+@[\w.]*=": "the key of a group has no @; dataset=, model=, dims=, train= and experiment= choose",
    r"\+*\w+=[\[{]": "must be one value (several make a sweep, without brackets: -m model=pool,rmp seed=1,2,3; "
    "a key of a group: train.lr=0.1)",
    r"(dataset|model|dims|train|experiment)=[^:]*\.\./[^:]*$": "must be the name of a choice; --help shows them",
    r"\+*hydra\.(sweeper|launcher)=": "must be one of its keys, as in hydra.sweeper.rerun=all, or another one: "
    "hydra/sweeper=NAME, hydra/launcher=NAME",
    r"\++hydra\.(sweeper|launcher)\.\w+=": "nothing can be added to the keys of sweeps and launchers; leave out the +",
    r"hydra\.verbose=(?!(?i:true|false|weightnet|hydra)$)": "must be true or false, or whose log: weightnet, hydra",
}
"""Words of a command line that Hydra takes, and what is wrong with them."""


def refuse(words: Iterable[str]) -> None:
    """Refuse words of a command line that Hydra would take, and pass over or mistake for others; raises UserError."""
    for word in words:
        for pattern, wrong in _REFUSED.items():
            if re.match(pattern, word):
                raise UserError(f"{word}: {wrong}")
        key, _, paths = word.partition("=")
        for path in re.findall(r"[^\[\],'\" ]+", paths) if key == "hydra.searchpath" else ():
            if "://" not in (folder := path.removeprefix("file://")) and not Path(folder).is_dir():
                raise UserError(f"{word}: there is no folder {folder}")


def explain(error: BaseException) -> str:
    """Return what we, Hydra or OmegaConf found wrong as one sentence, with the close match where there is one."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, YAMLError):
        return f"a YAML file is broken: {printable(str(error))}"
    chain, cause = [error], error.__cause__ or error.__context__
    while cause and cause not in chain:  # an error that is raised twice may be in its own context
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for cause in chain:
        if isinstance(cause, MissingConfigException) and cause.missing_cfg_file:
            group, _, choice = cause.missing_cfg_file.rpartition("/")
            if is_own(choice):
                return f"model={choice}: a file with its whole path goes by model.feedback=/path/to/{choice}"
            if not group or (f"{group}=" not in " ".join(sys.argv) and not cause.options):
                return f"--config-name={cause.missing_cfg_file}: there is no such config; leave the flag out"
            if group == "model" and choice.endswith(".py"):
                return f"model={choice}: must name the class, too: model={choice}:MyFeedback"
            if experiment_file(choice):
                return f"{group}={choice}: is an experiment: experiment={choice}"
            if group == "hydra/launcher" and choice == "joblib":
                return f"{group}={choice}: takes the package hydra-joblib-launcher: pip install 'weightnet[joblib]'"
            choices = [option for option in cause.options or () if not is_own(option)]
            close = close_match(choice, choices)
            return f"{group}={choice}: there is no such {group}{close} Choices: {', '.join(choices)}"
    text = " ".join(str(cause) for cause in chain)  # where Hydra's error says it in words alone
    for cause in chain:
        if isinstance(cause, OverrideParseException):
            return _unreadable(cause.override)
    if "Only one of --run" in text:
        return "-m and --cfg exclude one another; hydra.sweeper.dry_run=true prints what a sweep would do"
    if "Config group override must be" in text:
        return "dataset, model, dims, train and experiment take the name of one of their choices; --help shows them"
    if key := re.search(r"Could not append to config\. An item is already at '([^']+)'", text):
        return f"+{key[1]}: this key exists; leave out the +"
    if "Could not override ''" in text:
        return _unreadable("=")
    if "Ambiguous value for argument 'experiment=" in text:
        return "experiment: one experiment a command; each is a sweep of its own"
    if added := re.search(r"call to target '[^']*Launcher':.*unexpected keyword argument '(\w+)'", text, re.DOTALL):
        return _unknown_key(f"hydra.launcher.{added[1]}")
    if several := re.search(r"Ambiguous value for argument '([^']+)'|Sweep parameters '([^']+)' requires", text):
        return (
            f"{several[1] or several[2]}: several values make a sweep: {program()} {shlex.join(['-m', *sys.argv[1:]])}"
        )
    for cause in chain:
        if isinstance(cause, ConfigKeyError | ConfigAttributeError) and cause.full_key:
            return _unknown_key(cause.full_key)
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            wrong = "must be a list, as in [1,2]" if "ListConfig" in str(cause) else _first_line(cause)
            more = f"; several values: {cause.full_key}=1,2,5 or '{cause.full_key}=range(1,4)', with -m"
            return f"{cause.full_key}: {wrong}{more * bool(_SEVERAL.search(wrong))}"
    return _first_line(error)


def _is_hydras(error: ValueError) -> bool:
    """Tell whether it is Hydra that does not like something: some of its refusals are a mere ValueError."""
    frames = traceback.extract_tb(error.__traceback__)
    return Path(frames[-1].filename).parts[-3:-1] in _HYDRAS


_HYDRAS = {("site-packages", "hydra"), ("hydra", "_internal"), ("hydra", "core")}  # folders of its code


def _unreadable(word: str) -> str:
    """Say what is wrong with an override that Hydra's parser does not take."""
    key, equals, value = word.partition("=")
    if not equals or not key:
        return f"{word}: must be KEY=VALUE (a value with a space in it: 'key=\"the value\"')"
    if value.endswith(","):
        return f"{word}: there is a value missing after the last comma"
    if "(" in value:
        return f"{word}: must be as range(1,5), range(0,10,2) or glob(p*), with numbers in a range"
    return f"{word}: cannot be read; put quotes around a value with unusual signs, within those for the shell: " + (
        f"'{key}=\"{value}\"'"
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _unknown_key(key: str) -> str:
    """Compare the key with all keys, and its last part with their last parts."""
    if key.startswith("hydra."):
        return f"{key}: there is no such key; `{program()} --help` names those of sweeps and launchers"
    if key.partition(".")[0] == "experiment":
        return "the experiment's file is empty, or its first line is not '# @package _global_'"
    params = (f"model.params.{name}" for names in PARAMS.values() for name in names)
    keys = [*_keys(Config), *_keys(AnalysisConfig, "analysis."), *params]
    by_last = _ELSEWHERE | {known.rpartition(".")[2]: known for known in keys}
    if exact := by_last.get(key.rpartition(".")[2]):
        return f"{key}: there is no such key; did you mean {exact}? `{program()} --cfg job` shows them all"
    group = [known for known in keys if known.rpartition(".")[0] == key.rpartition(".")[0]]
    if close := difflib.get_close_matches(key, group, n=1, cutoff=0.8):
        return f"{key}: there is no such key; did you mean {close[0]}? `{program()} --cfg job` shows them all"
    last = difflib.get_close_matches(key.rpartition(".")[2], by_last, n=1)
    other = close_match(key, keys) if not last else f"; did you mean {by_last[last[0]]}?"
    return f"{key}: there is no such key{other} `{program()} --cfg job` shows them all"


def close_match(word: str, choices: Iterable[str]) -> str:
    """Return the end of a sentence that names the choice that may have been meant."""
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f"; did you mean {close[0]}?" if close else "."


def _keys(schema: Any, prefix: str = "") -> Iterator[str]:
    for field in fields(schema):
        yield prefix + field.name
        if is_dataclass(field.type):
            yield from _keys(field.type, f"{prefix}{field.name}.")
