"""LabelMe's annotations: NAME.json with "shapes" beside the photo."""

from __future__ import annotations

from typing import Any

import numpy as np

from mobilesam.data.polygons import check_polygon
from mobilesam.data.shapes import PolygonShape
from mobilesam.errors import DataError

OUTLINED = ("polygon", "rectangle", "rotation", "circle")
CORNERS = 2  # of a rectangle, and points of a circle: its centre and one on its border
FINEST = 720  # vertices of a circle


def group(shapes: Any) -> list[tuple[str, list[Any]]]:
    """Group shapes into objects, as (index, shapes); shapes with the same label and group_id form one object.

    Raises:
        DataError: `shapes` is no list.
    """
    if not isinstance(shapes, list):
        raise DataError(f"LabelMe's shapes are a list, not {type(shapes).__name__}")
    objects: dict[str, list[Any]] = {}
    numbers: dict[str, str] = {}
    for i, shape in enumerate(shapes):
        number = str(i)
        if isinstance(shape, dict) and shape.get("group_id") is not None:
            number = numbers.setdefault(repr((shape.get("label"), shape["group_id"])), number)
        objects.setdefault(number, []).append(shape)
    return list(objects.items())


def to_shape(shapes: list[Any]) -> PolygonShape:
    """Convert the LabelMe shapes of one object to polygons.

    Raises:
        DataError: one of them is malformed, or has no inside.
    """
    return PolygonShape(tuple(outline(shape) for shape in shapes))


def outline(shape: Any) -> tuple[float, ...]:
    """Convert one shape (polygon, rectangle or circle) to a polygon x0, y0, x1, y1, ...

    Raises:
        DataError: it is malformed, or of another kind.
    """
    if not isinstance(shape, dict):
        raise DataError(f"a shape of LabelMe is an object, not {type(shape).__name__}")
    kind, points = shape.get("shape_type") or "polygon", shape.get("points")
    if kind not in OUTLINED:
        raise DataError(f"a {kind!s:.40}, not a polygon, rectangle or circle")
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise DataError("the points of a shape are a list of [x, y]")
    numbers = [value for point in points for value in point]
    if kind in ("rectangle", "circle") and len(points) == CORNERS:
        x0, y0, x1, y1 = check_polygon([*numbers, *numbers[:2]]).ravel().tolist()[:4]
        return (x0, y0, x1, y0, x1, y1, x0, y1) if kind == "rectangle" else _circle(x0, y0, x1, y1)
    if kind == "circle":
        raise DataError(f"a circle has a centre and a point on its border, not {len(points)} points")
    return tuple(check_polygon(numbers).ravel().tolist())


def _circle(x: float, y: float, x1: float, y1: float) -> tuple[float, ...]:
    radius = float(np.hypot(x1 - x, y1 - y))
    count = int(np.clip(2 * np.pi * radius, 16, FINEST))
    angle = np.arange(count) * (2 * np.pi / count)
    return tuple(np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1).ravel().tolist())
