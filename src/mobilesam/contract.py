"""The interface of an exported encoder/decoder pair: file names, inputs, outputs and codes.

Every client of a model (Python, browser, phone) and every producer of one (export) relies on it. The numbers a
client needs at run time (image size, embedding channels) travel in each ONNX file's `metadata_props`; this file
only fixes names, codes and rules. Changing anything a client can observe means a new `VERSION`.

The pair, with g = side / 16 and C = embed_dim (256 for every SAM). The side is `image_size`, or another that
`image_sizes` allows ("256-1024/32": from, to, step); the photo's long side decides:

    encoder.onnx   image           (B, 3, H, W)   float32 RGB, 0-255, the longer of H and W == side
                 → embedding       (B, C, g, g)   float32
    decoder.onnx   embedding       (E, C, g, g)   float32
                   point_coords    (N, P, 2)      float32 (x, y) in pixels of the resized photo
                   point_labels    (N, P)         float32, the codes below
                   mask_input      (M, 1, 4g, 4g) float32 logits of an earlier answer, or zeros
                   has_mask_input  (M,)           float32, 1 where mask_input counts
                   min_score       ()             float32, -inf for all masks
                 → low_res_masks   (S, 4, 4g, 4g) float32 logits over the padded square
                   iou_predictions (N, 4)         float32, about 0-1

    decoder_many.onnx  may be absent: the same function for many prompts without masks, in another order of products
                   embedding (E = 1), point_coords, point_labels, min_score
                 → low_res_masks, iou_predictions

E is 1, all prompts being of one photo, or N, a photo for each.
M is N, or 1 where one mask input, usually none, serves all prompts, which saves work.
Masks are made only for the S prompts whose best iou_prediction exceeds min_score, in their order: S is N without it.

decoder_many.onnx holds no weights: it names their places in the bytes of decoder.onnx, whose sha256 it carries.

Mask 0 is the single-mask answer, masks 1-3 are the three of multimask output.
"""

import operator

from mobilesam.errors import SettingsError

VERSION = "3"
READABLE = ("2", "3")  # 2: one side, one photo per call, a default for min_score; 1: M = N only, no min_score

ENCODER_FILE = "encoder.onnx"
DECODER_FILE = "decoder.onnx"
MANY_FILE = "decoder_many.onnx"
CARD_FILE = "model.json"
ORT_ENCODER_FILE, ORT_DECODER_FILE = "encoder.ort", "decoder.ort"  # the same graphs in onnxruntime's mobile format
OPENVINO_ENCODER_FILE, OPENVINO_DECODER_FILE = "encoder.xml", "decoder.xml"  # in OpenVINO's; weights lie in .bin

ENCODER_INPUT = "image"
ENCODER_OUTPUT = "embedding"
DECODER_INPUTS = ("embedding", "point_coords", "point_labels", "mask_input", "has_mask_input")
DECODER_MIN_SCORE = "min_score"
MANY_INPUTS = ("embedding", "point_coords", "point_labels", DECODER_MIN_SCORE)
MANY_PROMPTS = 16  # decoder_many.onnx is faster from this number of prompts on,
MANY_POINTS = 8  # and up to this number of points per prompt; with more, its low-rank updates cost too much
DECODER_OUTPUTS = ("low_res_masks", "iou_predictions")

# Keys of the ONNX metadata_props; every value is a string.
MANY_DECODER_SHA256 = "decoder_sha256"  # of decoder_many.onnx only
GRID, LOW_RES = "g", "l"  # names of the decoder's dynamic sides: a cell is 16 pixels, a logit 4

# Optional, from contract 3 on: other input sides; the sizes (fractions of the photo) below which prompts get a second
# look by default; what is subtracted from logits outside a prompt's box.
IMAGE_SIZES, ZOOM_BELOW, CLICK_ZOOM_BELOW, OUTSIDE_BOX = OPTIONAL_KEYS = (
    "image_sizes", "zoom_below", "click_zoom_below", "outside_box",
)  # fmt: skip
FORMAT, PRECISION = "format", "precision"
# What a client needs to know of the inputs: points per prompt, a number or "any"; and mean and deviation of each
# channel as JSON, with the word that says that the files themselves subtract and divide. Absent from older pairs.
NUM_POINTS, PIXEL_MEAN_KEY, PIXEL_STD_KEY, NORMALISATION = INPUT_KEYS = (
    "num_points", "pixel_mean", "pixel_std", "normalisation",
)  # fmt: skip
ANY_POINTS, INSIDE = "any", "inside"
METADATA_KEYS = ("contract_version", "model_name", "image_size", "embed_dim", "licence", "weights_sha256")

# Point labels, as in SAM's prompt encoder.
LABEL_PADDING = -1
LABEL_BACKGROUND = 0
LABEL_OBJECT = 1
LABEL_BOX_TOP_LEFT = 2
LABEL_BOX_BOTTOM_RIGHT = 3

# Formats with fixed shapes: the encoder takes the whole square (1, 3, S, S) and the photo's height and width in it, the
# decoder one prompt of this number of points (a box counts as two), filled with label -1.
FIXED_ENCODER_INPUTS = (ENCODER_INPUT, "input_hw")
FIXED_POINTS = 5

PATCH_SIZE = 16  # photo pixels per grid cell; the mask logits have a quarter of that
NUM_MASKS = 4
MASK_THRESHOLD = 0.0  # a logit above this is object

# ImageNet statistics in 0-255, as in segment-anything's Sam module; applied inside the exported encoder.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


def check_side(side: int, image_size: int, sides: range, name: str) -> int:
    """Refuse a side in pixels that a model cannot take.

    Args:
        side: the requested side, a whole number of any type.
        image_size: the model's own.
        sides: the others it takes; empty where attention fixes the side.
        name: of the model, for the message.

    Returns:
        The side as an `int`.

    Raises:
        SettingsError: says which sides it takes.
    """
    try:
        whole, found = operator.index(side), f"{side}"
    except TypeError:
        whole, found = None, f"{side!r:.40}, which is no whole number"
    if whole is not None and (whole == image_size or whole in sides):
        return whole
    if not sides:
        raise SettingsError(f"{name} works at {image_size} px only, because its encoder has attention; not at {found}")
    raise SettingsError(
        f"{name} takes an image_size from {sides.start} to {sides.stop - 1} in steps of {sides.step}, not {found}"
    )


def write_sides(sides: range) -> str:
    """Format a range of sides as `image_sizes` of the metadata; empty where the side is fixed."""
    if not sides:
        return ""
    return f"{sides.start}-{sides.stop - 1}/{sides.step}"


def read_sides(text: str) -> range:
    """Parse `image_sizes` of the metadata: the inverse of `write_sides`.

    Raises:
        ValueError: it is not of that form.
    """
    if not text:
        return range(0)
    bounds, step = text.split("/")
    first, last = bounds.split("-")
    return range(int(first), int(last) + 1, int(step))
