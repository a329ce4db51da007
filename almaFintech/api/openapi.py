"""Derivation of the OpenAPI document from the views.

The errors of an operation follow from its permissions, its parameters and its body; `@operation`
adds those of its business rules. The example of each error is the error handler's response.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.db.models import Model
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent, get_doc
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.permissions import SAFE_METHODS
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from almaFintech import refusals
from almaFintech.api.errors import exception_handler
from almaFintech.api.parsers import TOO_DEEP
from almaFintech.api.queries import UNKNOWN, PageQuery, Query, QueryMixin

V = TypeVar("V", bound=Callable[..., Any])
# An error, or the class of one that needs no arguments.
Error = Exception | type[Exception]

JSON = "application/json"
MAX_INT64 = 2**63 - 1
WHOLE_NUMBER = {"type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_INT64}

# Text without NUL, which no database stores; and the same for text that is not blank.
TEXT = r"^[^\x00]*$"
NOT_BLANK = r"^[^\x00]*[^\s\x00][^\x00]*$"

VERBS = {
    "list": "list",
    "create": "create",
    "retrieve": "get",
    "update": "update",
    "partial_update": "patch",
    "destroy": "delete",
}

# The responses to errors: the component that many operations share, and a description.
RESPONSES = {
    400: ("", "The request is invalid, or a rule refuses it. Nothing has changed."),
    401: ("Unauthorized", "The token is missing or no longer valid."),
    403: ("Forbidden", "This user may not do this."),
    404: ("NotFound", "It does not exist, or this user may not see it."),
    406: ("NotAcceptable", "No response has a media type that `Accept` asks for."),
    408: ("RequestTimeout", "The body did not arrive in time."),
    409: ("", "The request conflicts with another one. Nothing has changed."),
    411: ("LengthRequired", "The request does not state the length of its body."),
    412: ("", "It has changed since the client read it. The request has changed nothing."),
    413: ("ContentTooLarge", "The body is larger than this server reads."),
    415: ("UnsupportedMediaType", "The body has an unsupported media type or charset."),
    422: ("", "The key belongs to another request. Nothing has changed."),
    429: ("TooManyRequests", "Too many requests: try again after `Retry-After` seconds."),
    500: ("ServerError", "Internal server error. Nothing has changed."),
    503: (
        "Unavailable",
        "The database is unavailable, or the server is busy: try again after `Retry-After` "
        "seconds.",
    ),
}
ERROR_HEADERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "Retry-After": ("Seconds to wait before the next attempt.", {"type": "integer", "minimum": 0}),
    "WWW-Authenticate": ("How to authenticate (RFC 9110).", {"type": "string"}),
}

# The errors that operations have in common.
ALWAYS: tuple[Error, ...] = (
    exceptions.NotAcceptable,
    refusals.ServerError,
    refusals.DatabaseUnavailable,
    refusals.Busy,
)
OF_BODIES: tuple[Error, ...] = (
    exceptions.ParseError(TOO_DEEP),
    refusals.Unstorable,
    refusals.RequestTimeout,
    refusals.LengthRequired,
    refusals.BodyTooLarge,
    exceptions.UnsupportedMediaType("text/plain"),
)
INVALID_FIELDS = exceptions.ValidationError(
    {
        "non_field_errors": [
            serializers.Serializer.default_error_messages["invalid"].format(datatype="list")
        ]
    }
)
# BadRequest is the response to more parameters than the server reads.
OF_QUERIES: tuple[Error, ...] = (
    refusals.BadRequest,
    exceptions.ValidationError({"acount": [UNKNOWN]}),
)


@dataclass(frozen=True)
class Facts:
    """The description that `@operation` has given to a method of a view."""

    summary: str = ""
    description: str = ""
    errors: tuple[Error, ...] = ()
    names_fields: bool = True
    headers: Mapping[str, Any] = field(default_factory=dict)


def operation(
    name: str | None = None,
    summary: str = "",
    *,
    description: str = "",
    errors: Iterable[Error] = (),
    names_fields: bool = True,
    headers: Mapping[str, Any] | None = None,
    **options: Any,
) -> Callable[[V], V]:
    """Describe a method of a view, in addition to what `Schema` derives.

    name: the operation id, for a method that is not one of a ModelViewSet.
    summary, description: by default the first paragraph of the method's docstring, and the rest.
    errors: the errors that the rules behind the method raise.
    names_fields: whether an invalid body gets errors by field.
    headers: the headers of its successful response.
    options: those of `extend_schema`.

    A method may have several such decorators; they add up.
    """

    def decorate(method: V) -> V:
        earlier = facts_of(method)
        described: Any = extend_schema(operation_id=name, **options)(method)
        described.facts = Facts(
            summary=summary or earlier.summary,
            description=description or earlier.description,
            errors=(*earlier.errors, *errors),
            names_fields=earlier.names_fields and names_fields,
            headers={**earlier.headers, **(headers or {})},
        )
        return described

    return decorate


def facts_of(method: Any) -> Facts:
    return getattr(method, "facts", Facts())


class Schema(AutoSchema):
    view: Any

    def get_operation(self, *args: Any) -> dict[str, Any] | None:
        operation = super().get_operation(*args)
        if operation is None:
            return None
        facts = facts_of(self._method())
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                # Each is an id: of the view's own rows, unless its name contains a noun.
                noun = parameter["name"].removesuffix("id").rstrip("_") or self.view.basename
                parameter["description"] = f"The id of the {noun}."
                parameter["schema"] = {**WHOLE_NUMBER, "minimum": 1}
                parameter["example"] = 1
        headers = {**self._headers(), **facts.headers}
        for status, success in operation["responses"].items():
            success["description"] = success["description"] or HTTPStatus(int(status)).phrase
            if headers:
                success["headers"] = headers
        operation["responses"] |= self._errors(operation, facts.errors)
        operation["responses"] = dict(sorted(operation["responses"].items()))
        return operation

    def _method(self) -> Any:
        return getattr(self.view, getattr(self.view, "action", None) or self.method.lower(), None)

    def get_operation_id(self) -> str:
        action = getattr(self.view, "action", None)
        if action not in VERBS:
            return super().get_operation_id()
        # POST to a resource edits it as PUT does, and each operation needs its own name.
        verb = "edit" if self._edits_by_post() else VERBS[action]
        return verb + self.view.basename.title() + ("s" if action == "list" else "")

    def _edits_by_post(self) -> bool:
        return getattr(self.view, "action", None) == "update" and self.method == "POST"

    def get_summary(self) -> str:
        summary = facts_of(self._method()).summary or self._docstring()[0].removesuffix(".")
        return f"{summary}, as PUT does" if self._edits_by_post() else summary

    def get_description(self) -> str:  # type: ignore[override]
        description = facts_of(self._method()).description or self._docstring()[1]
        return f"As PUT does. {description}" if self._edits_by_post() else description

    def _docstring(self) -> tuple[str, str]:
        """Return the first paragraph of the method's docstring, and the rest, if any."""
        text = get_doc(self._method()) or get_doc(type(self.view))
        first, _, others = text.partition("\n\n")
        return first, others or first

    def map_parsers(self) -> list[Any]:
        # Forms with the same names are accepted as well, but a client generated from three media
        # types would have three arguments for one body.
        return [JSON]

    def get_paginated_name(self, serializer_name: str) -> str:
        return f"{serializer_name}List"

    def _postprocess_serializer_schema(
        self, schema: dict[str, Any], serializer: Any, direction: Any
    ) -> dict[str, Any]:
        schema = super()._postprocess_serializer_schema(schema, serializer, direction)
        properties = schema.get("properties", {})
        for name, described in properties.items():
            refine(described, serializer.fields[name], direction)
        if direction == "response" and isinstance(serializer, serializers.ModelSerializer):
            # A row may lack what a request must contain: a transfer outlives its accounts.
            columns = nullable_columns(serializer.Meta.model)
            for name, described in properties.items():
                if serializer.fields[name].source in columns and described.get("type") == "integer":
                    described["type"] = ["integer", "null"]
            # A response has all fields, even those that a request may omit.
            sometimes = getattr(serializer.Meta, "sometimes", ())
            schema["required"] = sorted(properties.keys() - set(sometimes))
        return schema

    def get_override_parameters(self) -> list[Any]:
        query = self._query_class()
        return [query] if query().fields else []

    def _query_class(self) -> type[Query]:
        if self.method == "GET" and isinstance(self.view, QueryMixin):
            return self.view.query_class()
        return Query

    def _headers(self) -> dict[str, Any]:
        """Return the headers that follow from the kind of operation."""
        headers: dict[str, Any] = {}
        query = self._query_class()
        if issubclass(query, PageQuery):
            url = "http://localhost:8000" + re.sub("{.*?}", "1", self.path)
            url = replace_query_param(url, "cursor", query.example_cursor())
            headers["Link"] = {
                "description": "Links to the `next` and `prev` pages (RFC 8288).",
                "schema": {"type": "string"},
                "example": f'<{url}>; rel="next"',
            }
        if getattr(self.view, "action", None) == "create":
            headers["Location"] = {
                "description": "The path of the created object.",
                "required": True,
                "schema": {"type": "string", "format": "uri-reference"},
                "example": f"{self.path}1/",
            }
        return headers

    def _errors(self, operation: dict[str, Any], own: Iterable[Error]) -> dict[str, Any]:
        """Return the responses to errors; those without errors in `own` are shared components."""
        derived, own_by_status = answers(self._derived_errors(operation)), answers(own)
        found = {}
        for status in {*derived, *own_by_status}:
            name, description = RESPONSES[status]
            described = error_response(
                [*derived.get(status, ()), *own_by_status.get(status, ())], description
            )
            if status == HTTPStatus.UNAUTHORIZED:
                how = self.view.get_authenticate_header(self.view.request)
                described["headers"] = error_headers({"WWW-Authenticate": how})
            if name and status not in own_by_status:
                component = ResolvedComponent(name, ResolvedComponent.RESPONSE, described, name)
                self.registry.register_on_missing(component)
                described = component.ref
            found[str(status)] = described
        return found

    def _derived_errors(self, operation: dict[str, Any]) -> Iterator[Error]:
        reads = self.method in SAFE_METHODS
        yield from ALWAYS
        if any(operation.get("security", ())):
            yield exceptions.Throttled(30)
            for authenticator in self.view.get_authenticators():
                yield from authenticator.errors
            if not reads:
                yield refusals.Conflict
        if self._refuses_some_users():
            yield exceptions.PermissionDenied
        if "{" in self.path:
            yield exceptions.NotFound
        if "requestBody" in operation:
            yield from OF_BODIES
            if facts_of(self._method()).names_fields:
                yield INVALID_FIELDS
        elif reads and isinstance(self.view, QueryMixin):
            yield from OF_QUERIES

    def _refuses_some_users(self) -> bool:
        request = SimpleNamespace(method=self.method, user=get_user_model()())
        permissions = self.view.get_permissions()
        return not all(each.has_permission(request, self.view) for each in permissions)


def answers(errors: Iterable[Error]) -> defaultdict[int, list[Response]]:
    """Group the responses of the server to `errors` by status."""
    found = defaultdict(list)
    for error in errors:
        answer = exception_handler(error() if isinstance(error, type) else error, {})
        if answer is None:
            raise TypeError(f"no client ever sees {error!r}")
        found[answer.status_code].append(answer)
    return found


def error_response(answers: list[Response], description: str) -> dict[str, Any]:
    """Return the description of the errors of one status, with an example of each code."""
    examples: dict[str, Any] = {}
    headers: dict[str, Any] = {}
    for answer in answers:
        # YAML accepts only plain strings; DRF's are objects with a code.
        value = json.loads(json.dumps(answer.data))
        examples[value.get("code", "fields")] = {"value": value}
        headers = error_headers(answer.headers) | headers
    kinds = {"FieldErrors" if name == "fields" else "Error" for name in examples}
    schemas = [reference_to("schemas", kind) for kind in sorted(kinds)]
    schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
    described = {
        "description": description,
        "content": {JSON: {"schema": schema, "examples": examples}},
    }
    return {"headers": headers, **described} if headers else described


def error_headers(sent: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: {
            "description": description,
            "required": True,
            "schema": schema,
            "example": int(sent[name]) if schema["type"] == "integer" else sent[name],
        }
        for name, (description, schema) in ERROR_HEADERS.items()
        if name in sent
    }


def refine(schema: dict[str, Any], field: Any, direction: str) -> None:
    """Add to the schema of a field what drf-spectacular leaves out."""
    if "integer" in schema.get("type", ()):
        schema.setdefault("format", "int64")
    many = isinstance(field, (serializers.ListSerializer, serializers.ManyRelatedField))
    if many and direction == "request":
        bounds = {
            "minItems": getattr(field, "min_length", None),
            "maxItems": getattr(field, "max_length", None),
        }
        schema |= {name: bound for name, bound in bounds.items() if bound is not None}
    if isinstance(field, serializers.CharField) and direction == "request":
        if "oneOf" in schema:
            # A blank may match either alternative.
            schema["anyOf"] = schema.pop("oneOf")
        elif "format" not in schema:
            trimmed = field.trim_whitespace and not field.allow_blank
            schema.setdefault("pattern", NOT_BLANK if trimmed else TEXT)


def nullable_columns(model: type[Model]) -> set[str]:
    """Return the names of the nullable columns, those of references with and without `_id`."""
    columns = [column for column in model._meta.concrete_fields if column.null]
    return {name for column in columns for name in (column.name, column.attname)}


def reference_to(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def add_error_schemas(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Add the two kinds of errors, with the codes of the examples and those of Python callers."""
    codes = {*re.findall(r'"code": "(\w+)"', json.dumps(result, default=str))}
    codes |= {kind.default_code for kind in refusals.WalletError.kinds()}
    codes.add(exceptions.MethodNotAllowed.default_code)
    schemas = result["components"]["schemas"]
    schemas["Error"] = {
        "type": "object",
        "description": "A message for people, and a stable `code` for programs.",
        "properties": {
            "detail": {"type": "string", "description": "A message for people."},
            "code": {
                "type": "string",
                "enum": sorted(codes),
                "description": "The kind of error, for programs; codes do not change.",
            },
            "index": {
                "type": "integer",
                "minimum": 0,
                "description": "In a batch, the position of the first refused transfer, from 0.",
            },
        },
        "required": ["detail", "code"],
    }
    schemas["FieldErrors"] = {
        "type": "object",
        "description": "Messages for each invalid field or parameter; `non_field_errors` has those "
        "for the body as a whole.",
        "additionalProperties": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "minProperties": 1,
    }
    result["components"]["schemas"] = dict(sorted(schemas.items()))
    return result
