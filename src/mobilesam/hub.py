"""Models of the Hugging Face Hub: `hf://OWNER/NAME[@REVISION]`, fetched by its library and checked.

A revision is a branch, a tag or a commit; without one it is the branch `main`. A branch or a tag is resolved to its
commit first, the commit is said, and all files are those of that commit. Each file is compared with the sha256 (or, for
small ones, Git's sha1) that the Hub gives for it. What was found is kept in the cache of this package, so that a commit
that was fetched once loads without a network, and a branch falls back to the commit it had.

The files themselves lie in the cache of the Hub's library (`HF_HOME`), where other programs find them too.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilesam.errors import DownloadError, ModelError, first_line
from mobilesam.extras import require
from mobilesam.files import save_json
from mobilesam.integrity import file_sha256
from mobilesam.model_folder import (
    BESIDE_A_PAIR,
    CONFIG,
    INDEX,
    PAIR,
    choose_weights,
    has_pair_names,
    parts_of,
    read_config,
    read_json,
)
from mobilesam.outputs import ALL
from mobilesam.quiet import without_telemetry

PREFIX = "hf://"
FORM = "hf://OWNER/NAME or hf://OWNER/NAME@REVISION"
MAIN = "main"
_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BLOCK = 2**20
_log = logging.getLogger("mobilesam")

Sums = dict[str, dict[str, str]]
"""File name → {"sha256": ...} or {"git": ...}, as the Hub gives it."""


@dataclass(frozen=True)
class Address:
    """A model of the Hub."""

    repository: str
    """OWNER/NAME."""
    revision: str
    """A branch, a tag or a commit."""

    @property
    def is_pinned(self) -> bool:
        """Whether it names a commit, whose files never change."""
        return _COMMIT.fullmatch(self.revision) is not None

    def at(self, commit: str) -> str:
        """The address of one commit."""
        return f"{PREFIX}{self.repository}@{commit}"


def parse(text: str) -> Address:
    """Parse an address of the Hub.

    Raises:
        ModelError: it has another form.
    """
    found = _ADDRESS.fullmatch(text)
    if not found or ".." in text:
        raise ModelError(f"'{text}' is no model of the Hub; the form is {FORM}")
    return Address(found[1], found[2] or MAIN)


def located(model: str | os.PathLike[str], cache: Callable[[], Path], *, wants_weights: bool) -> str | os.PathLike[str]:
    """Fetch a model of the Hub and return its folder; anything else is returned unchanged.

    Args:
        model: a path, a name, or an address of the Hub.
        cache: gives the folder that keeps which files were checked; called only where it is needed, since the search
            for it loads pooch, which a cold start need not pay for.
        wants_weights: take the weights even where there is a pair.

    Raises:
        ModelError: the address is wrong, or the repository holds no model.
        DownloadError: the Hub cannot be reached or has no such model, or a file is not what it says.
        MissingExtraError: the Hub's library is not installed.
    """
    text = os.fspath(model)
    if not text.startswith(PREFIX):
        return model
    address = parse(text)
    require("huggingface_hub", "hub", f"loading {text}")
    record_file = cache() / "hub" / f"{address.repository.replace('/', '--')}.json"
    record = _read_record(record_file)
    if address.is_pinned and address.revision in record["commits"]:
        try:
            return _take(address, address.revision, record["commits"], wants_weights, offline=True)
        except DownloadError:
            pass  # the files are gone, or others were wanted then
    commit = _resolve(address, record)
    folder = _take(address, commit, record["commits"], wants_weights, offline=False)
    record_file.parent.mkdir(parents=True, exist_ok=True)
    save_json(record, record_file, ALL)
    if address.is_pinned:
        _log.info("%s: its files were checked", text)
    else:
        _log.warning("%s is commit %s now; to get the same files always: %s", text, commit, address.at(commit))
    return folder


def _read_record(path: Path) -> dict[str, dict[str, Any]]:
    """What is known of a repository: revision → commit, and commit → checksums of all its files."""
    try:
        record = read_json(path)
    except ModelError:  # there is none, or it is damaged: ask again
        record = {}
    found = {key: value if isinstance(value := record.get(key), dict) else {} for key in ("revisions", "commits")}
    whole = {commit: sums for commit, sums in found["commits"].items() if _is_whole(sums)}
    known = [(name, commit) for name, commit in found["revisions"].items() if isinstance(commit, str)]
    revisions = {name: commit for name, commit in known if commit in whole}
    return {"revisions": revisions, "commits": whole}


def _is_whole(sums: Any) -> bool:
    """Whether a commit's checksums have the form in which they were kept."""
    return isinstance(sums, dict) and all(isinstance(one, dict) for one in sums.values())


def _resolve(address: Address, record: dict[str, dict[str, Any]]) -> str:
    """Ask the Hub for the commit and the checksums of a revision, and note them.

    Without a network it is the commit that the revision had when it was last asked.
    """
    with without_telemetry():
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        info = huggingface_hub.HfApi(endpoint=endpoint, library_name="mobilesam").model_info(
            address.repository, revision=address.revision, files_metadata=True
        )
    except Exception as error:  # its own, and those of the HTTP library that its version uses
        known = record["revisions"].get(address.revision)
        if isinstance(error, HfHubHTTPError) or known is None:
            raise DownloadError(_failed(address, error)) from error
        _log.warning("the Hub cannot be reached (%s); using the commit that was found last", first_line(error))
        return str(known)
    commit = str(info.sha)
    if address.is_pinned and commit != address.revision:
        raise DownloadError(f"{address.at(address.revision)}: the Hub answers with commit {commit}; try again later")
    record["revisions"][address.revision] = commit
    record["commits"][commit] = {one.rfilename: _sum_of(one) for one in info.siblings or ()}
    return commit


def _sum_of(sibling: Any) -> dict[str, str]:
    """The checksum that the Hub gives for a file: sha256 of large files, Git's sha1 of others."""
    if sibling.lfs is not None:
        return {"sha256": str(sibling.lfs["sha256"])}
    return {"git": str(sibling.blob_id)}


def _failed(address: Address, error: Exception) -> str:
    name = f"{PREFIX}{address.repository}"
    advice = "check its name and revision; a private one needs HF_TOKEN or `hf auth login`"
    return f"could not get '{name}' at {address.revision} from the Hub: {first_line(error)}; {advice}"


def _take(address: Address, commit: str, commits: dict[str, Sums], wants_weights: bool, *, offline: bool) -> Path:
    """Fetch and check the needed files of a commit; returns their folder.

    Raises:
        ModelError: the repository holds no model that can be read.
        DownloadError: a file cannot be had, or differs.
    """
    sums = commits[commit]
    names = [name for name in sums if "/" not in name]
    if CONFIG in names:  # first, since it may say that the large files are of no use
        read_config(_get(address, commit, CONFIG, sums, offline).parent)
    needed = wanted(names, address.at(commit), wants_weights)
    paths = [_get(address, commit, name, sums, offline) for name in needed]
    for path in paths:
        if path.name.endswith(INDEX):
            paths += [_get(address, commit, name, sums, offline) for name in parts_of(path)]
    return paths[0].parent


def wanted(names: Iterable[str], where: str, wants_weights: bool) -> list[str]:
    """Choose the files of a repository that are needed.

    Raises:
        ModelError: it holds neither weights nor a pair.
    """
    names = list(names)
    weights = choose_weights(names, where)
    if has_pair_names(names) and not (wants_weights and weights):
        return [*PAIR, *(name for name in BESIDE_A_PAIR if name in names)]
    if weights is None:
        some = ", ".join(names[:6]) or "nothing"
        raise ModelError(
            f"{where} holds no model.safetensors, pytorch_model.bin, checkpoint or exported pair; it has {some}"
        )
    return [weights]


def _get(address: Address, commit: str, name: str, sums: Sums, offline: bool) -> Path:
    """One file of a commit, fetched if needed; a damaged copy is fetched once more.

    Raises:
        DownloadError: it cannot be had, or is another than the Hub says.
    """
    with without_telemetry():
        import huggingface_hub
    if name not in sums:
        raise DownloadError(f"{address.at(commit)} has no {name}, which another of its files names")
    for again in (False, True):
        try:
            path = Path(
                huggingface_hub.hf_hub_download(
                    address.repository,
                    name,
                    revision=commit,
                    cache_dir=os.environ.get("HF_HUB_CACHE") or None,
                    endpoint=os.environ.get("HF_ENDPOINT") or None,
                    library_name="mobilesam",
                    force_download=again,
                    local_files_only=offline,
                )
            )
        except Exception as error:  # as in `_resolve`
            raise DownloadError(_failed(address, error)) from error
        if _has_sum(path, sums[name]):
            return path
        if offline:
            break
    raise DownloadError(f"{path} is not the file that the Hub lists for {address.at(commit)}; delete it and try again")


def _has_sum(path: Path, expected: dict[str, str]) -> bool:
    """Whether a file has a checksum of the Hub."""
    if "sha256" in expected:
        return file_sha256(path) == expected["sha256"]
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest() == expected.get("git")
