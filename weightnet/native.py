"""The native kernel: net/convolution.c, compiled once for this machine's processor, by the compiler that is there.

Where there is none, torch's own layers do the same work, slower and with other rounding. No torch in here.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from weightnet.config import Config
from weightnet.geometry import KERNEL

NARROW = 16  # fewer output channels than this fill no vector register of 16 floats: there torch's layers are slow
# at import, as the fingerprint is
SOURCE = (Path(__file__).parent / "net" / "convolution.c").read_text(encoding="utf-8")
NATIVE = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
FLAGS = ("-O3", NATIVE, "-ffp-contract=fast", f"-DKERNEL={KERNEL}", "-shared", "-fPIC")
PATIENCE = 120  # seconds for the compiler, which takes one or two


class NoKernel(Exception):
    """There is no kernel here; the message says why."""


def fits(config: Config) -> bool:
    """Tell whether the kernel is for a resolved config's network: narrow, in float32, on a CPU."""
    return config.device == "cpu" and config.train.precision == "float32" and max(config.dataset.channels) < NARROW


def convolutions(config: Config) -> str | None:
    """Return what computes the convolutions of a resolved config's network here, `native` or `torch`, which round
    otherwise; None: no kernel is for it.
    """
    return ("torch" if why_not() else "native") if fits(config) else None


def why_not() -> str:
    """Say why there is no kernel here; "" where there is one."""
    kernel = _kernel()
    return "" if isinstance(kernel, ctypes.CDLL) else kernel


def kernel() -> ctypes.CDLL:
    """Return this machine's kernel, compiled when it is first wanted. NoKernel: there is none, and why."""
    found = _kernel()
    if not isinstance(found, ctypes.CDLL):
        raise NoKernel(found)
    return found


@cache
def _kernel() -> ctypes.CDLL | str:
    try:
        return build()
    except NoKernel as error:
        return str(error)


def build(*more_flags: str) -> ctypes.CDLL:
    """Return the kernel compiled with these flags, as it was kept or anew. NoKernel: that cannot be done, and why."""
    compiler = _compiler()
    flags = (*FLAGS, *more_flags)
    key = hashlib.sha256("\0".join([SOURCE, *compiler, *flags, _processor()]).encode()).hexdigest()[:16]
    path = _folder() / f"convolution-{key}.so"
    for attempt in ("kept", "anew"):
        if attempt == "anew" or not path.exists():
            _compile([*compiler, *flags], path)
        try:
            return _typed(ctypes.CDLL(str(path)))
        except (OSError, AttributeError) as error:  # what was kept is damaged
            problem = error
    raise NoKernel(f"the compiled kernel cannot be loaded ({problem})")


def _compiler() -> list[str]:
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        if (words := shlex.split(name)) and shutil.which(words[0]):
            return words
    raise NoKernel("there is no C compiler (cc, gcc or clang; or CC=...)")


def _compile(command: list[str], path: Path) -> None:
    """Compile the source to `path`, beside which other processes may be doing the same."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder, path.name)
        command = [*command, "-x", "c", "-", "-o", str(made)]
        try:
            subprocess.run(command, input=SOURCE, capture_output=True, text=True, check=True, timeout=PATIENCE)
        except subprocess.CalledProcessError as error:
            said = (error.stderr.strip() or f"exit status {error.returncode}").splitlines()[0]
            raise NoKernel(f"{command[0]} cannot compile convolution.c ({said[:200]})") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoKernel(f"{command[0]} cannot compile convolution.c ({error})") from None
        os.replace(made, path)


def _folder() -> Path:
    """Return a folder for compiled kernels in which nobody else can put anything. NoKernel: there is none."""
    for folder in _folders():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            state = folder.stat()
        except OSError:
            continue
        if state.st_uid == os.getuid() and not state.st_mode & 0o022 and os.access(folder, os.W_OK):
            return folder
    raise NoKernel(
        f"there is no folder of one's own to keep the compiled kernel in ({', '.join(map(str, _folders()))})"
    )


def _folders() -> Iterator[Path]:
    yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weightnet"
    yield Path(tempfile.gettempdir()) / f"weightnet-{os.getuid()}"


def _processor() -> str:
    """Return what tells processors apart that `NATIVE` compiles differently for."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


_SIGNATURES = {"to_blocks": (2, 2), "from_blocks": (2, 2), "forward": (5, 5), "backward": (7, 5)}  # pointers, sizes


_RESULT = {"backward": ctypes.c_int}


def _typed(library: ctypes.CDLL) -> ctypes.CDLL:
    for name, (pointers, sizes) in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = [ctypes.c_void_p] * pointers + [ctypes.c_long] * sizes, _RESULT.get(name)
    return library
