"""Other ways to look again at a prompt's region: which region, which of its masks, and whether further looks pay.

    python -m benchmarks.looks 'PATH/*.tar' [--parts region click more] [--model embedded] [--image-size 384]

- `region`: every object by its tight box, with a second look at regions of several shapes and sizes.
- `click`: objects of at least 1,000 px, four per photo at most, by one click on their innermost pixel, with a second
  look for each; which of the region's masks is taken, and around what the region lies.
- `more`: those boxes and clicks with second looks where the library gives them by default, compared with means over
  mirrored photos and regions, a third look, and two regions.

`region` and `click` end with the mean IoU for several limits of size, up to which prompts get a second look.
Differences are to the library's way, with 95 % intervals from a bootstrap over photos.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

import mobilesam
from benchmarks.common import machine, make_parser, parse, synthetic_shard
from benchmarks.second_looks import (
    SHAPES,
    Asked,
    Logits,
    best_scored,
    clicked_piece,
    default_second,
    margin,
    mean_of_first,
    mirrored_mean,
    mirrored_prompt,
    most_like_of_four,
    regions,
)
from mobilesam import boxes
from mobilesam.data.layouts import read_all
from mobilesam.data.photo import PhotoId, PhotoRef
from mobilesam.evaluate.metrics import bootstrap, boundary_iou, iou
from mobilesam.evaluate.photo import TrueMask, choose, read_objects
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.masks import deepest_pixel
from mobilesam.predict import zoom
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.prompts import make_prompt
from mobilesam.tables import table

PARTS = ("region", "click", "more")
FACTORS = (1.2, 1.5, 1.8)
SMALLEST = (1, 16, 32, 64, 96)  # pixels
SMALL = 0.15  # boxes whose longer side is below this share of the photo's show what the smallest region does
LIMITS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 2.0)
USED = "margin, factor 1.5"
USED_CLICK = "most similar of three, factor 1.5"
SECOND = "second look (the library's way)"
EVERY = EvaluateSettings(data=(), protocols=("box",))
LARGE = EvaluateSettings(data=(), protocols=("click",), min_area=1000, max_objects=4)


@dataclass
class Tally:
    """IoU and boundary IoU of every object, for each way to look."""

    photos: list[PhotoId] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    """Longer side of the object's box, or of the first mask after a click, as a share of the photo's."""
    scores: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets; none if there is only one."""
        names = sorted({photo.dataset for photo in self.photos})
        return names if len(names) > 1 else []

    def start(self, photo: PhotoId, share: float) -> None:
        """Begin with the next object."""
        self.photos.append(photo)
        self.shares.append(share)

    def add(self, name: str, logits: Logits, truth: TrueMask) -> None:
        """Add one way's answer for the object."""
        mask = logits > 0
        pair = iou(mask, truth.mask, truth.ignored), boundary_iou(mask, truth.mask, truth.ignored)
        self.scores.setdefault(name, []).append(pair)

    def show(self, title: str, base: str) -> None:
        """Print mean IoU of each way: of each data set, of all, and the difference to the way called `base`."""
        if not self.photos:
            return
        rows = []
        for name, pairs in self.scores.items():
            ious, boundaries = np.array(pairs).T
            gain = ious - np.array(self.scores[base])[:, 0]
            low, high = bootstrap(gain.tolist(), self.photos)
            parts = [f"{ious[[p.dataset == d for p in self.photos]].mean():.3f}" for d in self.datasets]
            difference = "" if name == base else f"{gain.mean():+.3f} ({low:+.3f} to {high:+.3f})"
            rows.append([name, *parts, f"{ious.mean():.3f}", difference, f"{boundaries.mean():.3f}"])
        print(f"\n{title}: {len(self.photos)} objects\n")
        print("\n".join(table(["", *self.datasets, "mean IoU", "difference", "boundary IoU"], rows)), flush=True)

    def show_limits(self, one: str, second: str) -> None:
        """Print mean IoU with second looks for objects below several sizes."""
        if not self.photos:
            return
        shares, ious = np.array(self.shares), {n: np.array(self.scores[n])[:, 0] for n in (one, second)}
        kinds = {d: np.array([p.dataset == d for p in self.photos]) for d in self.datasets}
        kinds["all"] = np.ones(len(shares), bool)
        rows = [["second looks", *(f"{(shares < limit).mean():.0%}" for limit in LIMITS)]]
        for name, kind in kinds.items():
            means = (np.where(shares < limit, ious[second], ious[one])[kind].mean() for limit in LIMITS)
            rows.append([f"mean IoU, {name}", *(f"{mean:.3f}" for mean in means)])
        limits = [*(f"{limit:g}" for limit in LIMITS[:-1]), "any"]
        print("\n" + "\n".join(table(["longer side below", *limits], rows)), flush=True)


def compare_regions(asked: Asked, photo: PhotoId, truth: TrueMask, tallies: dict[str, Tally]) -> None:
    """A box, with second looks at regions of every shape and size."""
    box = asked.box(truth.mask)
    tally = tallies["region"]
    tally.start(photo, asked.share(truth.mask))
    tally.add("one look", asked.logits, truth)
    for name, shape in SHAPES.items():
        for factor in FACTORS:
            tally.add(f"{name}, factor {factor:g}", asked.second(shape(asked, box, factor), asked.logits), truth)
    if asked.share(truth.mask) < SMALL:
        tallies["smallest"].start(photo, asked.share(truth.mask))
        for pixels in SMALLEST:
            with regions(zoom.REGION_FACTOR, pixels):
                region = zoom.region_around(box, asked.prompt.points_xy, asked.hw)
            tallies["smallest"].add(f"{pixels} px", asked.second(region, asked.logits), truth)


def compare_picks(asked: Asked, photo: PhotoId, truth: TrueMask, tally: Tally) -> None:
    """A click, with a second look of which several masks are taken."""
    mask = asked.logits > 0
    tally.start(photo, asked.share(mask))
    tally.add("one look", asked.logits, truth)
    for factor in (1.5, 1.2, 2.0):
        answer = asked.second(margin(asked, asked.box(mask), factor), asked.logits) if mask.any() else asked.logits
        tally.add(f"most similar of three, factor {factor:g}", answer, truth)
    picks = {"most similar of all four": most_like_of_four, "best-scored of three": best_scored}
    for name, pick in picks.items():
        region = margin(asked, asked.box(mask), zoom.REGION_FACTOR)
        answer = asked.second(region, asked.logits, pick) if mask.any() else asked.logits
        tally.add(name, answer, truth)
    piece = clicked_piece(mask, asked.prompt)
    region = margin(asked, asked.box(piece), zoom.REGION_FACTOR)
    answer = asked.second(region, asked.logits) if mask.any() else asked.logits
    tally.add("most similar of three, region around the clicked piece alone", answer, truth)


def compare_more(asked: Asked, photo: PhotoId, truth: TrueMask, mirror: ImageEmbedding, tally: Tally) -> None:
    """A prompt with more passes of the encoder than a second look takes."""
    other = Asked(mirror, mirrored_prompt(asked.prompt, asked.hw[1]))
    one, both = asked.logits, mean_of_first(asked, other)
    second, region = default_second(asked, one)
    tally.start(photo, asked.share(one > 0))
    tally.add("one look", one, truth)
    tally.add("one look, mean with the mirrored photo", both, truth)
    tally.add(SECOND, second, truth)
    tally.add("second look a mean with the mirrored region", mirrored_mean(asked, other, one), truth)
    tally.add("first look a mean with the mirrored photo", default_second(asked, both)[0], truth)
    tally.add("both", mirrored_mean(asked, other, both), truth)
    third, twice = second, second
    if region is not None:
        if (second > 0).any():
            third = asked.second(margin(asked, boxes.from_mask(second > 0), zoom.REGION_FACTOR), second)
        twice = np.mean([asked.second(margin(asked, asked.box(one > 0), f), one) for f in (1.3, 1.8)], axis=0)
    tally.add("a third look, at the region of the second mask", third, truth)
    tally.add("mean of two second looks, factors 1.3 and 1.8", twice, truth)


def ask_photo(sam: mobilesam.Predictor, photo: PhotoRef, parts: list[str], tallies: dict[str, Tally]) -> None:
    """Measure all parts on one photo."""
    image = sam.embed(photo.open())
    assert image.photo is not None
    truths, _ = read_objects(photo.id, photo.annotation(), image.original_hw)
    mirror = sam.embed(np.ascontiguousarray(image.photo[:, ::-1])) if "more" in parts else image
    for truth in (one.decode() for one in choose(truths, EVERY)):
        asked = Asked(image, make_prompt(image.original_hw, box=boxes.from_mask(truth.mask)))
        if "region" in parts:
            compare_regions(asked, photo.id, truth, tallies)
        if "more" in parts:
            compare_more(asked, photo.id, truth, mirror, tallies["more, boxes"])
    for truth in (one.decode() for one in choose(truths, LARGE)):
        asked = Asked(image, make_prompt(image.original_hw, points=[deepest_pixel(truth.mask)[0]]))
        if "click" in parts:
            compare_picks(asked, photo.id, truth, tallies["click"])
        if "more" in parts:
            compare_more(asked, photo.id, truth, mirror, tallies["more, clicks"])


def main() -> None:
    """Print the tables of the parts."""
    parser = make_parser(__doc__)
    parser.add_argument("data", nargs="*", help="data sets with masks")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--photos", type=int, help="only so many photos, evenly spread")
    options = parse(
        parser, lambda folder: ("--image-size", "256", "--photos", "1", synthetic_shard(folder, 2, scale=2))
    )
    sam = mobilesam.load(options.model, threads=1, image_size=options.image_size)
    photos = [item for item in read_all(options.data) if isinstance(item, PhotoRef) and item.truth is not None]
    step = max(1, len(photos) // options.photos) if options.photos else 1
    tallies = {name: Tally() for name in ("region", "smallest", "click", "more, boxes", "more, clicks")}
    for photo in tqdm(photos[::step][: options.photos], disable=None):
        ask_photo(sam, photo, options.parts, tallies)
    about = machine(1, ("onnxruntime", "openvino"))
    print(f"{sam.info.name} {sam.info.weights_sha256[:12]} at {sam.info.image_size} px; {about}")
    tallies["region"].show("The region of a box", USED)
    tallies["region"].show_limits("one look", USED)
    tallies["smallest"].show(f"The smallest region, boxes below {SMALL} of the photo", f"{zoom.SMALLEST_REGION} px")
    tallies["click"].show("The mask of a click's region", USED_CLICK)
    tallies["click"].show_limits("one look", USED_CLICK)
    tallies["more, boxes"].show("More looks, boxes", SECOND)
    tallies["more, clicks"].show("More looks, clicks", SECOND)


if __name__ == "__main__":
    main()
