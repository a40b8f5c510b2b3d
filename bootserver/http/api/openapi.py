"""The OpenAPI 3.1 description, made of the table of operations and the models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from bootserver.http.api.operations import OPERATIONS, Operation
from bootserver.http.api.problems import PROBLEM_TYPE
from bootserver.http.api.requests import JSON_TYPE, UPLOAD_TYPE, UploadQuery
from bootserver.http.api.shapes import Problem

REF = "#/components/schemas/{model}"
BINARY = {"type": "string", "contentMediaType": UPLOAD_TYPE}

# What each status of a problem is for.
PROBLEMS = {
    400: "The query or the JSON makes no sense",
    403: "A page of another site wanted to write",
    404: "There is no such thing",
    408: "The body has taken too long to come",
    409: "It cannot be done as things stand",
    412: "It has changed since",
    413: "The body is too large",
    415: "The body is of another media type",
    421: "The Host header names another machine",
    422: "The body has mistakes, or what it asks for cannot be had",
    426: "It comes over a WebSocket only",
    428: "If-Match is missing",
    500: "The server failed; its log says how",
    502: "The machine's AMT cannot be reached, or does not want to",
    503: "Not now; Retry-After says when",
}

Json = dict[str, Any]


async def get_openapi(_request: web.Request) -> web.Response:
    """GET /openapi.json"""
    return web.json_response(document())


SELF = Operation("GET", "/openapi.json", get_openapi, "This description", {200: (JSON_TYPE,)})


@cache
def document() -> Json:
    """The whole description."""
    operations = (*OPERATIONS, SELF)
    refs, definitions = models_json_schema(_models(operations), ref_template=REF)
    schemas = {model: ref for (model, _mode), ref in refs.items()}
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(
            operation, schemas
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bootserver",
            "version": version("bootserver"),
            "summary": "Boots PCs from a recovery ISO in RAM, started by a tiny stub",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/api/v1"}],
        "paths": paths,
        "components": {"schemas": definitions["$defs"]},
    }


def _models(
    operations: Iterable[Operation],
) -> Sequence[tuple[type[BaseModel], JsonSchemaMode]]:
    """Every model of a body or an answer: as it is taken, or as it is given."""
    operations = list(operations)
    taken = {operation.body for operation in operations if operation.body}
    given: set[type[BaseModel]] = {Problem}
    for operation in operations:
        given |= {model for model in operation.answers.values() if isinstance(model, type)}
    by_name = {model.__name__: model for model in (*taken, *given)}
    return [
        (model, "validation" if model in taken else "serialization")
        for _, model in sorted(by_name.items())
    ]


def _operation(operation: Operation, schemas: Mapping[Any, Json]) -> Json:
    described: Json = {
        "operationId": operation.handler.__name__,
        "summary": operation.summary,
        "parameters": [*_in_path(operation), *_in_query(operation), *_in_header(operation)],
        "responses": {
            str(status): _answer(operation, model, schemas)
            for status, model in operation.answers.items()
        },
    }
    if operation.body:
        content: Json = {JSON_TYPE: {"schema": schemas[operation.body]}}
        if operation.takes_upload:
            content[UPLOAD_TYPE] = {"schema": BINARY}
        described["requestBody"] = {"required": True, "content": content}
    slow = {408} if operation.body else set()
    for status in sorted({*operation.problems, *slow, 421, 500}):
        described["responses"][str(status)] = {
            "description": PROBLEMS[status],
            "content": {PROBLEM_TYPE: {"schema": schemas[Problem]}},
        }
    return described


def _answer(
    operation: Operation,
    model: type[BaseModel] | tuple[str, ...] | None,
    schemas: Mapping[Any, Json],
) -> Json:
    answer: Json = {"description": operation.summary}
    if isinstance(model, tuple):
        answer["content"] = {media_type: {} for media_type in model}
    elif model is not None:
        answer["content"] = {JSON_TYPE: {"schema": schemas[model]}}
    if operation.headers:
        answer["headers"] = {name: {"schema": {"type": "string"}} for name in operation.headers}
    return answer


def _in_path(operation: Operation) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]


def _in_query(operation: Operation) -> list[Json]:
    if operation.query is None:
        return []
    schema = operation.query.model_json_schema(ref_template=REF)
    definitions = schema.get("$defs", {})
    required = [] if operation.query is UploadQuery else schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": _flat(of, definitions),
        }
        for name, of in schema["properties"].items()
    ]


def _flat(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """The schema with what it refers to in its place: parameters have no definitions."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _flat(definitions[schema["$ref"].rpartition("/")[2]], definitions)
        return {key: _flat(value, definitions) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_flat(item, definitions) for item in schema]
    return schema


def _in_header(operation: Operation) -> list[Json]:
    if not operation.is_conditional:
        return []
    described = "The ETag of what you got; without it the answer is 428"
    return [
        {
            "name": "If-Match",
            "in": "header",
            "required": True,
            "description": described,
            "schema": {"type": "string"},
        }
    ]
