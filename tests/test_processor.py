"""How results name the processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilesam import processor


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("fpu sse2 avx avx2", "x86_64, AVX2"),
        ("fpu avx2 avx512f avx512dq", "x86_64, AVX-512"),
        ("fpu avx2 avx512f avx512_bf16", "x86_64, AVX-512 with bfloat16"),
        ("fpu avx2 avx512f avx512_bf16 amx_bf16 amx_tile", "x86_64, AMX"),
        ("fpu sse2", "x86_64"),
    ],
)
def test_the_fastest_vectors_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, found: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbogomips\t: 4890.86\n" * 2)
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert processor.describe.__wrapped__() == found


def test_other_systems_have_the_instruction_set_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "none")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert processor.describe.__wrapped__() == "arm64"
