"""All operations of the API, and their description (OpenAPI 3.1), which is made of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from bootserver.http.api import (
    amt,
    amt_console,
    boots,
    drivers,
    events,
    images,
    jobs,
    machines,
    optimize,
    profiles,
    status,
    stubs,
)
from bootserver.http.api.operations import Operation, Operations
from bootserver.http.api.problems import PROBLEM_TYPE, Problem
from bootserver.http.api.requests import JSON_TYPE, UPLOAD_TYPE
from bootserver.json_values import Json, adapter_of

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

operations = Operations()


@operations.add("GET", "/openapi.json", media_types=(JSON_TYPE,))
async def get_openapi(_request: web.Request) -> web.StreamResponse:
    """This description."""
    return web.json_response(document())


OPERATIONS: tuple[Operation, ...] = (
    *status.operations,
    *boots.operations,
    *events.operations,
    *images.operations,
    *jobs.operations,
    *optimize.operations,
    *drivers.operations,
    *stubs.operations,
    *machines.operations,
    *amt.operations,
    *amt_console.operations,
    *profiles.operations,
    *operations,
)


class _JsonSchema(GenerateJsonSchema):
    """pydantic's, where an answer has all its members always."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        """Also those with a default, in what is answered."""
        return self.mode == "serialization" or super().field_is_required(field, total)


@cache
def document() -> Json:
    """The whole description."""
    kinds: dict[tuple[Any, JsonSchemaMode], TypeAdapter[Any]] = {}
    for operation in OPERATIONS:
        if operation.body:
            kinds[operation.body, "validation"] = adapter_of(operation.body)
        if operation.answer:
            kinds[operation.answer, "serialization"] = adapter_of(operation.answer)
    kinds[Problem, "validation"] = adapter_of(Problem)
    schemas, definitions = TypeAdapter.json_schemas(
        [(kind, mode, adapter) for (kind, mode), adapter in kinds.items()],
        ref_template=REF,
        schema_generator=_JsonSchema,
    )
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
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


def _operation(operation: Operation, schemas: Mapping[tuple[Any, JsonSchemaMode], Json]) -> Json:
    described: Json = {
        "operationId": operation.handler.__name__,
        "summary": operation.summary,
        "parameters": [*_in_path(operation), *_in_query(operation), *_in_header(operation)],
    }
    content: Json = {}
    if operation.body:
        content[JSON_TYPE] = {"schema": schemas[operation.body, "validation"]}
    if operation.takes_upload:
        content[UPLOAD_TYPE] = {"schema": BINARY}
    if content:
        described["requestBody"] = {"required": True, "content": content}
    answer: Json = {"description": operation.summary}
    if operation.answer:
        schema = schemas[operation.answer, "serialization"]
        answer["content"] = {JSON_TYPE: {"schema": schema}}
    elif operation.media_types:
        answer["content"] = {media_type: {} for media_type in operation.media_types}
    if operation.headers:
        answer["headers"] = {name: {"schema": {"type": "string"}} for name in operation.headers}
    problem = {PROBLEM_TYPE: {"schema": schemas[Problem, "validation"]}}
    described["responses"] = {str(status): answer for status in operation.statuses} | {
        str(status): {"description": PROBLEMS[status], "content": problem}
        for status in operation.problems
    }
    return described


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
    required = [] if operation.takes_upload and operation.body else schema.get("required", [])
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
