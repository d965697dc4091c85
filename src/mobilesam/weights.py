"""The list of published models, and downloading their weights into a cache, with checksums.

    name          where it comes from
    embedded      inside this package; no download
    mobile_sam    the authors' repository, pinned to a commit
    sam_vit_*     Meta's release of Segment Anything

Besides these names, a model may be a path, or a repository of the Hugging Face Hub (`hf://OWNER/NAME`, module `hub`).
The cache is the user's cache folder, or `MOBILESAM_HOME`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mobilesam import contract, hub, outputs
from mobilesam.downloads import Bounded
from mobilesam.errors import DownloadError, ModelError, first_line
from mobilesam.files import replacing
from mobilesam.integrity import file_sha256 as file_sha256  # re-exported: importers of this module use it
from mobilesam.model_folder import CHECKPOINTS as CHECKPOINTS
from mobilesam.model_folder import RUN_WEIGHTS as RUN_WEIGHTS
from mobilesam.temporaries import sweep
from mobilesam.text import unknown


@dataclass(frozen=True)
class ModelSpec:
    """A published model: its name, licence, download address and checksum."""

    name: str
    description: str
    licence: str
    url: str = ""
    """Empty for the embedded model."""
    sha256: str = ""
    num_bytes: int = 0
    score: str = ""
    """One published or measured accuracy, with its protocol."""

    @property
    def file_name(self) -> str:
        """Name of the checkpoint in the cache; `.pt` and `.pth` are kept."""
        return f"{self.name}-{self.sha256[:8]}{Path(urlsplit(self.url).path).suffix}"


EMBEDDED = "embedded"

# A false sha256 of mobile_sam.pt circulates that begins with f3c0d8cd: it is the file's md5 with an invented tail.
MODELS = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name=EMBEDDED,
            description="EfficientNet-Lite0 at 256-1024 px, trained by this project; inside the package",
            licence="Apache-2.0 (code and weights); see MODEL_CARD.md for the photos",
        ),
        ModelSpec(
            name="mobile_sam",
            description="MobileSAM as published, TinyViT-5M at 1024 px",
            licence="Apache-2.0",
            url="https://github.com/ChaoningZhang/MobileSAM/raw/f706ad9c4eb7f219c00d9050e46328518ffb65d2/weights/mobile_sam.pt",
            sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            num_bytes=40_728_226,
            score="COCO AP 38.7-42.7 in print, depending on detector and mask choice",
        ),
        ModelSpec(
            name="sam_vit_b",
            description="SAM, ViT-B at 1024 px",
            licence="Apache-2.0",
            url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
            sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            num_bytes=375_042_383,
            score="COCO AP 43.4, ViTDet-H boxes (EfficientSAM's table)",
        ),
        ModelSpec(
            name="sam_vit_l",
            description="SAM, ViT-L at 1024 px",
            licence="Apache-2.0",
            url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth",
            sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            num_bytes=1_249_524_607,
            score="COCO AP 46.2, ViTDet-H boxes",
        ),
        ModelSpec(
            name="sam_vit_h",
            description="SAM, ViT-H at 1024 px: the teacher of the paper",
            licence="Apache-2.0",
            url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
            sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            num_bytes=2_564_550_879,
            score="COCO AP 46.5, ViTDet-H boxes, single mask (SAM's table)",
        ),
    )
}


def get_spec(name: str) -> ModelSpec:
    """Look up a published model by its name.

    Raises:
        ModelError: lists the known names.
    """
    if name not in MODELS:
        raise ModelError(f"{unknown('model', name, MODELS)}; or give a checkpoint, a folder or hf://OWNER/NAME")
    return MODELS[name]


def cache_folder() -> Path:
    """Folder for downloaded models: `MOBILESAM_HOME`, or the user's cache folder."""
    home = os.environ.get("MOBILESAM_HOME")
    if home:
        return Path(home).expanduser()
    import pooch

    return Path(pooch.os_cache("mobilesam"))


def checkpoint_path(spec: ModelSpec) -> Path:
    """Path of the downloaded checkpoint, whether it exists or not."""
    return cache_folder() / spec.file_name


def pair_folder(spec: ModelSpec) -> Path:
    """Folder of the ONNX pair, which may not exist yet; its name has the contract's version, so old ones are unused."""
    if spec.name == EMBEDDED:
        return Path(__file__).parent / "builtin"
    return cache_folder() / f"{spec.name}-{spec.sha256[:8]}-onnx-v{contract.VERSION}"


def has_pair(folder: Path) -> bool:
    """Whether a folder holds a complete ONNX pair; model.json is written last."""
    return all((folder / n).is_file() for n in (contract.ENCODER_FILE, contract.DECODER_FILE, contract.CARD_FILE))


def download(spec: ModelSpec, *, show_progress: bool = True, timeout: float = 30, retries: int = 1) -> Path:
    """Download a checkpoint into the cache, unless a verified one is there.

    The bytes go to a temporary name and get their own only when the sha256 is right; an interrupted download
    starts again and leaves nothing behind, and what a killed process left is removed. A server that sends more than
    the published number of bytes is left at once.

    Args:
        show_progress: a bar on stderr.
        timeout: seconds without a byte before the server counts as stalled.
        retries: further attempts after a failed one.

    Raises:
        DownloadError: no connection, a stall, a bad status, or other bytes than the published ones.
    """
    import pooch

    target = checkpoint_path(spec)
    if is_verified(spec):
        return target
    # pooch.retrieve would do the rest too, but logs through a global logger that belongs to the application.
    downloader = pooch.HTTPDownloader(progressbar=show_progress, timeout=timeout)
    for attempts_left in range(retries, -1, -1):
        try:
            fetch(spec, target, downloader)
            break
        except Exception as error:  # requests, urllib3 and the file system each raise exceptions of their own
            if not attempts_left:
                raise DownloadError(
                    f"could not download '{spec.name}' from {spec.url}: {first_line(error)}. Try again, or fetch "
                    f"the file by other means, check its sha256 ({spec.sha256}) and put it at {target}"
                ) from error
    return target


def fetch(spec: ModelSpec, target: Path, downloader: Callable[..., object]) -> None:
    """Make one attempt to download a checkpoint.

    Raises:
        DownloadError: they are not the published ones.
        Exception: whatever the downloader raises.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent)
    with replacing(target, outputs.ALL) as partial, partial.open("r+b") as file:
        downloader(spec.url, Bounded(file, spec.num_bytes), None)
        file.flush()
        found = file_sha256(partial)
        if found != spec.sha256:
            raise DownloadError(f"its sha256 is {found}")
        file.close()  # Windows cannot rename an open file


def is_verified(spec: ModelSpec) -> bool:
    """Whether the cached checkpoint has the published sha256."""
    path = checkpoint_path(spec)
    return path.is_file() and file_sha256(path) == spec.sha256


def in_run(path: str | os.PathLike[str]) -> Path:
    """The weights file inside a training run's folder; any other path is returned unchanged."""
    inside = Path(path) / RUN_WEIGHTS
    return inside if inside.is_file() else Path(path)


def check_named(model: str | os.PathLike[str]) -> None:
    """Refuse what `find_checkpoint` cannot find, as far as that is known without a download.

    Raises:
        ModelError: it is no file, no folder, no known name, or a wrong address of the Hub.
    """
    text, path = os.fspath(model), in_run(model)
    if text.startswith(hub.PREFIX):
        hub.parse(text)
    elif not path.exists():
        if path.suffix.lower() in CHECKPOINTS:
            raise ModelError(f"{path}: no such file")
        get_spec(text)


def find_checkpoint(model: str | os.PathLike[str]) -> Path:
    """Find the file or folder that holds a model's torch weights; a published model is downloaded if needed.

    Args:
        model: a checkpoint, a run's folder, an exported pair, `hf://OWNER/NAME[@REVISION]`, or a name of the table.

    Raises:
        ModelError: neither a path nor a known name.
        DownloadError: it cannot be downloaded.
    """
    path = in_run(hub.located(model, cache_folder, wants_weights=True))
    if path.exists() or path.suffix.lower() in CHECKPOINTS:
        return path
    spec = get_spec(str(model))
    return pair_folder(spec) if spec.name == EMBEDDED else download(spec)
