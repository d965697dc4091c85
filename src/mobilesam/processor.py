"""The processor of this machine, as results name it: speed depends most on the vectors that it computes with."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

VECTORS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX-512 with bfloat16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}
"""Words of Linux for what an x86 processor can, the fastest first, and the names that they are known by."""

CPU_INFO = Path("/proc/cpuinfo")


@cache
def describe() -> str:
    """The instruction set and its fastest vectors, such as "x86_64, AVX2"; without them where Linux does not tell."""
    flags = _flags()
    return ", ".join([platform.machine(), *[name for word, name in VECTORS.items() if word in flags][:1]])


def _flags() -> set[str]:
    try:
        lines = CPU_INFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return {word for line in lines if line.startswith("flags") for word in line.partition(":")[2].split()}
