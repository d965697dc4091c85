"""The OpenAPI document: bodies with their schemas and examples, which the routes read by themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from mobilesam.serve.schemas import BODIES, PhotoRequest

BYTES = "application/octet-stream"
PROBLEM = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was found and how to mend it."},
    },
    "example": {
        "type": "about:blank",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "point (700, 180) lies outside the photo, 600 px wide and 400 px high",
    },
}
FAILURES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, text in (
        (400, "The body cannot be read."),
        (401, "The token is missing or wrong."),
        (413, "The body has too many bytes, or the photo too many pixels."),
        (422, "The request asks for something impossible; `detail` says what to change."),
        (503, "The service is busy; come again after `Retry-After` seconds."),
        (504, "Not finished within the deadline."),
    )
}


def body(model: type[BaseModel]) -> dict[str, Any]:
    """The `requestBody` of a route that takes this model, and a file `photo` where it has a photo."""
    extra: Any = model.model_config.get("json_schema_extra") or {}
    examples = extra.get("examples", [])
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    named = {f"example {i}": {"value": example} for i, example in enumerate(examples, 1)}
    content: dict[str, Any] = {"application/json": {"schema": reference, "examples": named}}
    if issubclass(model, PhotoRequest):
        file = {"type": "object", "properties": {"photo": {"type": "string", "format": "binary"}}}
        content["multipart/form-data"] = {"schema": {"allOf": [file, reference]}}
    return {"requestBody": {"required": True, "content": content}}


def planes_body(model: type[BaseModel]) -> dict[str, Any]:
    """The `requestBody` of a route that takes a photo's bytes, and the numbers of the model in its address."""
    schema = model.model_json_schema()
    parameters = [
        {
            "name": name,
            "in": "query",
            "required": name in schema["required"],
            "schema": {key: value for key, value in field.items() if key not in ("title", "description")},
            "description": field["description"],
        }
        for name, field in schema["properties"].items()
    ]
    content = {BYTES: {"schema": {"type": "string", "format": "binary"}}}
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application, made once."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _, schemas = models_json_schema(
            [(model, "validation") for model in BODIES], ref_template="#/components/schemas/{model}"
        )
        components = found.setdefault("components", {}).setdefault("schemas", {})
        components.update(schemas["$defs"], Problem=PROBLEM)
        app.openapi_schema = found
    return app.openapi_schema
