"""The C library's heap."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def keep_freed_memory() -> None:
    """Keep up to 1 GiB of freed memory in this process, in blocks of up to 32 MiB (the most that glibc allows).

    A training step frees and takes the same blocks again and again. glibc returns large ones to the system each time,
    and touching fresh pages takes longer than the arithmetic on them. Elsewhere than on Linux with glibc: does nothing.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "gnu_get_libc_version"):
        libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)
