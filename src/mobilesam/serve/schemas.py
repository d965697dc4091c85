"""Bodies of requests, checked by pydantic; what they mean for a photo is checked by the library."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mobilesam.choices import ZoomWord

Format = Literal["rle", "polygons", "png", "labels"]
"""How masks are given: COCO's run lengths, polygons with holes, PNG of 0 and 255, or one PNG of labels."""
MOST_SIDE = 4096  # pixels; far above what any encoder takes
Xy = tuple[float, float]
Xyxy = tuple[float, float, float, float]

CLICK: dict[str, Any] = {"points": [[300, 180]], "labels": [1]}
BATCH: dict[str, Any] = {"prompts": [{"box": [20, 30, 200, 180]}, {"points": [[300, 180]]}], "format": "polygons"}


class Strict(BaseModel):
    """Base of all bodies: an unknown field is an error, so that a misspelt one is not ignored."""

    model_config = ConfigDict(extra="forbid")


class Prompt(Strict):
    """One prompt: points, a box, or both, in pixels of the upright photo."""

    points: list[Xy] | None = Field(None, description="(x, y) of each point.")
    labels: list[int] | None = Field(None, description="1 for object, 0 for background; all 1 by default.")
    box: Xyxy | None = Field(None, description="(x0, y0, x1, y1).")


class SegmentRequest(Prompt):
    """A prompt or a batch of prompts, and the form of the answer."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [CLICK, BATCH]})

    prior: str | None = Field(None, description="`logits` of an earlier answer, to refine its mask.")
    prompts: list[Prompt] | None = Field(None, description="A batch: independent prompts, instead of the one above.")
    boxes: list[Xyxy] | None = Field(None, description="A batch of boxes, one prompt each.")
    multimask: bool | None = Field(None, description="Three masks or one; null: three for a single point.")
    zoom: ZoomWord = Field("auto", description="Encode the region again, enlarged; auto: for small objects.")
    format: Format | None = Field(None, description="Form of the masks; null: what the Accept header asks for.")
    return_logits: bool = Field(False, description="Also give `logits` of each best mask, for `prior`.")


class PhotoRequest(Strict):
    """A photo in JSON; multipart/form-data with a file `photo` is the other way."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"photo": "/9j/4AAQSkZJRg..."}]})

    photo: str | None = Field(None, description="The file's bytes in base64.")
    url: str | None = Field(None, description="Address of the photo; only where the service allows its host.")


class EncodeRequest(Strict):
    """Size of a photo that comes as bytes (3, height, width), already resized; given in the address."""

    height: int = Field(ge=1, le=MOST_SIDE, description="Rows.")
    width: int = Field(ge=1, le=MOST_SIDE, description="Columns; the longer side is one that the model supports.")
    square: bool = Field(False, description="Pad to a square with the mean colour, as the second look does.")


class SegmentPhotoRequest(SegmentRequest, PhotoRequest):
    """A photo and what to segment in it."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"photo": "/9j/4AAQSkZJRg...", "points": [[300, 180]]}]}
    )


class EverythingRequest(PhotoRequest):
    """A photo, or the id of its embedding, whose masks are all to be found."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"embedding": "ID", "settings": {"points_per_side": 16}}]}
    )

    embedding: str | None = Field(None, description="Id of an embedding, instead of a photo.")
    settings: dict[str, Any] = Field(default_factory=dict, description="As `mobilesam everything --set`.")
    format: Literal["rle", "polygons"] = "rle"


BODIES = (Prompt, SegmentRequest, PhotoRequest, SegmentPhotoRequest, EverythingRequest)
Body = TypeVar("Body", bound=BaseModel)
