"""The ML backend of Label Studio: a point or a rectangle that an annotator draws becomes a brush mask and a polygon.

Label Studio sends the task, the labelling configuration, and in `params.context.result` what was drawn, in percent of
the photo's sides. The answer names the controls of the configuration: a brush where it has `BrushLabels` or `Brush`, a
polygon where it has `PolygonLabels` or `Polygon`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from mobilesam.interchange.label_studio import BRUSHES, POLYGONS, Control, regions
from mobilesam.predict.results import Mask
from mobilesam.serve.problems import Problem

KEYPOINTS, RECTANGLES = ("keypointlabels", "keypoint"), ("rectanglelabels", "rectangle")
MAX_CONFIG = 2**16  # characters
TAG = re.compile(r"<(\w+)((?:\s+[\w:-]+\s*=\s*(?:\"[^\"<]*\"|'[^'<]*'))*)\s*/?>")
ATTRIBUTE = re.compile(r"([\w:-]+)\s*=\s*(?:\"([^\"<]*)\"|'([^'<]*)')")


@dataclass(frozen=True)
class Drawn:
    """What an annotator drew on one photo, in its pixels."""

    points: list[tuple[float, float]]
    labels: list[int]
    box: tuple[float, float, float, float] | None
    label: str | None
    """The class that was chosen; None if the controls have no labels."""


def find_controls(config: str) -> list[Control]:
    """The brush and polygon controls of a labelling configuration, in its order.

    The configuration is XML, of which only start tags and their attributes matter: no parser of XML, with its entities
    and its nesting, sees what a client sends.

    Raises:
        Problem: it has neither.
    """
    controls = []
    for name, attributes in TAG.findall(config[:MAX_CONFIG]):
        found = {key: double or single for key, double, single in ATTRIBUTE.findall(attributes)}
        if name.lower() in (*BRUSHES, *POLYGONS) and "name" in found and "toName" in found:
            controls.append(Control(name.lower(), found["name"], found["toName"]))
    if not controls:
        raise Problem(422, "the labelling configuration has no BrushLabels, Brush, PolygonLabels or Polygon")
    return controls


def photo_key(config: str, to_name: str) -> str | None:
    """The field of a task's data that holds the photo's address, by the configuration's Image tag; None if unknown."""
    for name, attributes in TAG.findall(config[:MAX_CONFIG]):
        found = {key: double or single for key, double, single in ATTRIBUTE.findall(attributes)}
        if name.lower() == "image" and found.get("name") == to_name and found.get("value", "").startswith("$"):
            return found["value"][1:]
    return None


def photo_address(task: Any, key: str | None, server: str) -> str:
    """The address of a task's photo; one without a host belongs to Label Studio itself.

    Raises:
        Problem: the task has no photo, or it lies on Label Studio, whose address is not known.
    """
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        raise Problem(422, "each task must have 'data' with the address of the photo")
    value = data.get(key) if key is not None else next((v for v in data.values() if isinstance(v, str)), None)
    if not isinstance(value, str) or not value:
        raise Problem(422, "the task's data has no address of a photo")
    if value.startswith("/"):
        if not server:
            raise Problem(422, "the photo lies on Label Studio: start the service with --label-studio ADDRESS")
        return urljoin(server, value)
    return value


def read_drawn(result: Any, hw: tuple[int, int]) -> Drawn | None:
    """What was drawn, from the `result` of a request's context; None if there is neither point nor rectangle.

    Raises:
        Problem: a result is not of the documented form.
    """
    if not isinstance(result, list):
        raise Problem(422, "'context.result' must be a list")
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    box = None
    label = None
    for item in result:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind not in (*KEYPOINTS, *RECTANGLES):
            continue
        value = item.get("value")
        if not isinstance(value, dict):
            raise Problem(422, "each result must have a 'value'")
        names = value.get(kind)
        label = str(names[0]) if isinstance(names, list) and names else label
        x, y = _pixels(value, "x", hw[1]), _pixels(value, "y", hw[0])
        if kind in KEYPOINTS:
            points.append((x, y))
            labels.append(int(_is_positive(item)))
        else:
            box = (x, y, x + _pixels(value, "width", hw[1]), y + _pixels(value, "height", hw[0]))
    return Drawn(points, labels, box, label) if points or box else None


def _pixels(value: dict[str, Any], name: str, side: int) -> float:
    """A coordinate in pixels, from percent."""
    number = value.get(name)
    if isinstance(number, bool) or not isinstance(number, int | float) or not -1e6 < number < 1e6:
        raise Problem(422, f"'{name}' of a result must be a number, in percent of the photo's side")
    return float(number) * side / 100


def _is_positive(item: dict[str, Any]) -> bool:
    """Whether a point belongs to the object; older versions keep this in the value, or do not say it."""
    value = item.get("is_positive", item["value"].get("is_positive", 1))
    return bool(value)


def to_results(mask: Mask, drawn: Drawn, controls: list[Control]) -> list[dict[str, Any]]:
    """The results of a mask for each control of the configuration."""
    return [result for control in controls for result in regions(mask, drawn.label, control)]
