"""Writes a checkpoint of MobileSAM's size with the made-up weights of the tests, for measurements of time and size.

    python -m benchmarks.made_up mobilesam-size.pt && mobilesam bench mobilesam-size.pt --json > bench.json

The published weights give the same times and sizes; agreement with torch is what rounding does to made-up weights.
"""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.common import make_parser, parse
from mobilesam.model.config import TINY_LITE
from mobilesam.model.sam import Sam
from tests.helpers.networks import build


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("file", type=Path, help="the checkpoint to write")
    arguments = parse(parser, lambda folder: (str(folder / "tiny.pt"),))
    sam = Sam(TINY_LITE) if arguments.smoke else build("t")
    torch.save(sam.state_dict(), arguments.file)
    print(f"{arguments.file}: {sum(p.numel() for p in sam.parameters()) / 1e6:.1f} million weights")


if __name__ == "__main__":
    main()
