"""The OpenAPI document of the API, as far as it can be told from the kind of a view.

What only an operation knows of itself stands in `accounts.schema` and `login.schema`: names,
examples, and what it refuses. Everything else is derived here, so that a new view is described
without a word: its errors from its permissions, its parameters and its body, its headers from
what it answers, its name from its path.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from django.db.models import Model
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS, AllowAny, IsAuthenticated
from rest_framework.utils.urls import replace_query_param

from almaFintech.api.queries import PageQuery, Query, QueryMixin
from almaFintech.refusals import RETRY_AFTER_SECONDS, Refusal

JSON = "application/json"
MAX_INT64 = 2**63 - 1

# Text without NUL, which no database takes; and text that is not blank, either.
TEXT = r"^[^\x00]*$"
NOT_BLANK = r"^[^\x00]*[^\s\x00][^\x00]*$"

# The answers that need no word from an operation, by status: a name for the component, what it
# means, and the `detail` of each `code`.
ANSWERS: dict[int, tuple[str, str, dict[str, str]]] = {
    401: (
        "Unauthorized",
        "There is no token, or it is not valid (any more).",
        {
            "not_authenticated": "Authentication credentials were not provided.",
            "bad_authorization_header": "Authorization header must contain two "
            "space-delimited values",
            "token_expired": "The token has expired.",
            "token_not_valid": "Given token not valid for any token type",
            "user_not_found": "User not found",
            "user_inactive": "User is inactive",
            "password_changed": "The user's password has been changed.",
        },
    ),
    403: (
        "Forbidden",
        "This user may not do this.",
        {"permission_denied": "You do not have permission to perform this action."},
    ),
    404: (
        "NotFound",
        "There is no such thing, or this user may not see it.",
        {"not_found": "Not found."},
    ),
    406: (
        "NotAcceptable",
        "None of the media types in `Accept` can be answered.",
        {"not_acceptable": "Could not satisfy the request Accept header."},
    ),
    408: (
        "RequestTimeout",
        "The body did not arrive in time.",
        {"request_timeout": "The body of the request did not arrive in time."},
    ),
    411: (
        "LengthRequired",
        "The request does not tell the length of its body.",
        {
            "length_required": "The request must tell the length of its body: Content-Length is "
            "missing."
        },
    ),
    413: (
        "ContentTooLarge",
        "The body is larger than this server reads.",
        {"body_too_large": "The body may have at most 2097152 bytes."},
    ),
    415: (
        "UnsupportedMediaType",
        "The body is of another media type or charset.",
        {"unsupported_media_type": 'Unsupported media type "text/plain" in request.'},
    ),
    429: (
        "TooManyRequests",
        "Too many requests; `Retry-After` tells when the next one may come.",
        {"throttled": "Request was throttled. Expected available in 30 seconds."},
    ),
    500: (
        "ServerError",
        "Internal server error. Nothing has changed.",
        {"server_error": "Internal server error."},
    ),
    503: (
        "Unavailable",
        "The database is not available, or the server is busy; `Retry-After` says when to try "
        "again.",
        {
            "database_unavailable": "The database is not available. Try again later.",
            "busy": "The server is busy. Try again later.",
            "account_ahead": "The last entry of the account is dated in the future",
        },
    ),
}
CONFLICT = {"conflict": "Another request changed the same data at the same time."}
MALFORMED = {"parse_error": "JSON parse error - Expecting value: line 1 column 1 (char 0)"}
INVALID = {"invalid": "A value cannot be stored in the database."}
# Such as with more parameters than the server reads.
BAD_REQUEST = {"bad_request": "The request is malformed."}
NOT_A_BODY = {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}
NOT_A_PARAMETER = {"acount": ["Unknown parameter."]}
TOO_MANY_FAILED = {"too_many_failed_logins": "Too many failed logins. Try again in 30 seconds."}
TOO_MANY_LOGINS = {"too_many_logins": "Too many logins. Try again in 30 seconds."}
THROTTLED = ANSWERS[429][2]
LOGIN_FAILED = {"no_active_account": "No active account found with the given credentials"}
TOKEN_REFUSED = {
    code: ANSWERS[401][2][code]
    for code in (
        *("token_expired", "token_not_valid"),
        *("user_not_found", "user_inactive", "password_changed"),
    )
}
# Answered to methods and paths that this document does not have.
ELSEWHERE = {"method_not_allowed": 'Method "TRACE" not allowed.'}

RETRY_AFTER = {
    "description": "Seconds to wait before the next attempt.",
    "required": True,
    "schema": {"type": "integer", "minimum": 0},
    "example": RETRY_AFTER_SECONDS,
}
WWW_AUTHENTICATE = {
    "description": "How to authenticate (RFC 9110).",
    "required": True,
    "schema": {"type": "string"},
    "example": 'Bearer realm="api"',
}
REPLAYED = {
    "description": "Present when the answer is that of an earlier request with this key.",
    "schema": {"type": "string", "enum": ["true"]},
    "example": "true",
}
LOCATION = {
    "description": "The path of what was created.",
    "required": True,
    "schema": {"type": "string", "format": "uri-reference"},
    "example": "/api/accounts/1/",
}
HEADERS = {
    401: {"WWW-Authenticate": WWW_AUTHENTICATE},
    429: {"Retry-After": RETRY_AFTER},
    503: {"Retry-After": RETRY_AFTER},
}
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
    OpenApiParameter.HEADER,
    description="A name for this request, new for each. With it the request may be repeated: it "
    "is carried out once, and answered alike each time. For example `rent-2026-05`.",
)

VERBS = {
    "list": "list",
    "create": "create",
    "retrieve": "get",
    "update": "update",
    "partial_update": "patch",
    "destroy": "delete",
}
METHODS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def operation(
    name: str | None = None,
    summary: str | None = None,
    *,
    refusals: Iterable[type[Refusal]] = (),
    answers: dict[int, dict[str, str]] | None = None,
    headers: dict[str, Any] | None = None,
    idempotent: bool = False,
    **options: Any,
) -> Any:
    """What an operation tells of itself beside what `Schema` derives: a decorator for its method.

    name: its operation id, unless the derived one will do. refusals: what the rules behind it
    may refuse. answers: the errors of its own, by status and code. headers: what comes with its
    success. idempotent: whether it takes an Idempotency-Key. `options` are those of
    `extend_schema`.
    """
    facts = {
        "x-refusals": tuple(refusals),
        "x-answers": answers or {},
        "x-headers": headers or {},
        "x-idempotent": idempotent,
    }
    if idempotent:
        options["parameters"] = [IDEMPOTENCY_KEY, *options.get("parameters", [])]
    return extend_schema(operation_id=name, summary=summary, extensions=facts, **options)


class Schema(AutoSchema):
    def get_operation(self, *args: Any) -> dict[str, Any] | None:
        operation = super().get_operation(*args)
        if operation is None:
            return None
        refusals = operation.pop("x-refusals", ())
        own_answers = operation.pop("x-answers", {})
        idempotent = operation.pop("x-idempotent", False)
        paged = issubclass(self._query_class(), PageQuery)
        if self._edits_by_post():
            text = operation["description"]
            operation["description"] = f"As PUT does: {text[0].lower()}{text[1:]}"
        view: Any = self.view
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                # All are ids, of what the path is about unless they say otherwise.
                noun = parameter["name"].removesuffix("id").rstrip("_") or view.basename
                parameter["description"] = f"The id of the {noun}."
                parameter["schema"] = {**WHOLE_NUMBER, "minimum": 1}
                parameter["example"] = 1
        headers = dict(operation.pop("x-headers", {}))
        headers |= {"Link": self._link()} if paged else {}
        headers |= {"Idempotent-Replayed": REPLAYED} if idempotent else {}
        headers |= {"Location": LOCATION} if getattr(view, "action", None) == "create" else {}
        for status, success in operation["responses"].items():
            success["description"] = success["description"] or HTTPStatus(int(status)).phrase
            if headers:
                success["headers"] = headers
        operation["responses"] |= self._errors(operation, refusals)
        operation["responses"] |= {
            str(status): answer(status, codes) for status, codes in own_answers.items()
        }
        operation["responses"] = dict(sorted(operation["responses"].items()))
        return operation

    def get_operation_id(self) -> str:
        noun = getattr(self.view, "basename", "")
        action = getattr(self.view, "action", None)
        if noun and action in VERBS:
            # POST to a resource edits it as PUT does, and a name is given once.
            verb = "edit" if self._edits_by_post() else VERBS[action]
            return verb + noun.title() + ("s" if action == "list" else "")
        words = [word for part in self._tokenize_path() for word in part.split("_")]
        return METHODS[self.method] + "".join(word.title() for word in words)

    def _edits_by_post(self) -> bool:
        return getattr(self.view, "action", None) == "update" and self.method == "POST"

    def get_summary(self) -> str | None:
        action = getattr(self.view, "action", None)
        if action not in VERBS:
            return None
        noun: str = getattr(self.view, "basename", "")
        an = "an" if noun[0] in "aeio" else "a"
        what = f"{noun}s" if action == "list" else f"{an} {noun}"
        words = f"{'edit' if 'update' in action else VERBS[action]} {what}"
        if action == "partial_update":
            words += " in part"
        elif self._edits_by_post():
            words += ", as PUT does"
        return words[0].upper() + words[1:]

    def get_tags(self) -> list[str]:
        return [(self._tokenize_path() or ["api"])[0]]

    def map_parsers(self) -> list[Any]:
        # Forms are read as well, with the same names; a client generated from three spellings
        # of one body would have three arguments for it.
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
            # A row may lack what a request must tell: a transfer outlives its accounts.
            columns = nullable_columns(serializer.Meta.model)
            for name, described in properties.items():
                if serializer.fields[name].source in columns and described.get("type") == "integer":
                    described["type"] = ["integer", "null"]
            # What a client may leave out, an answer has nevertheless.
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

    def _link(self) -> dict[str, Any]:
        url = "http://localhost:8000" + re.sub("{.*?}", "1", self.path)
        query = self._query_class()
        assert issubclass(query, PageQuery)  # noqa: S101
        url = replace_query_param(url, "cursor", query.example_cursor())
        return {
            "description": "The pages beside this one (RFC 8288), with `rel` `next` and `prev`.",
            "schema": {"type": "string"},
            "example": f'<{url}>; rel="next"',
        }

    def _errors(
        self, operation: dict[str, Any], refusals: Iterable[type[Refusal]]
    ) -> dict[str, Any]:
        body = "requestBody" in operation
        parameters = operation.get("parameters", [])
        writes = self.method not in SAFE_METHODS
        refuses_queries = isinstance(self.view, QueryMixin) and not writes
        known = any(operation.get("security", ()))
        permissions = [type(permission) for permission in self.view.get_permissions()]
        limited = [each for each in permissions if each not in (AllowAny, IsAuthenticated)]
        # Those of the framework, such as IsAdminUser, say no to every method, ours to writes.
        reads_refused = any(each.__module__.startswith("rest_framework.") for each in limited)
        statuses = {406, 500, 503}
        if known:
            statuses |= {401, 429}
        if limited and (writes or reads_refused):
            statuses.add(403)
        if any(each["in"] == "path" for each in parameters):
            statuses.add(404)
        if body:
            statuses |= {408, 411, 413, 415}
        answers = {
            str(status): reference_to("responses", ANSWERS[status][0]) for status in statuses
        }
        by_status: dict[int, dict[str, str]] = {}
        if body:
            by_status[400] = MALFORMED | INVALID
        elif refuses_queries:
            by_status[400] = dict(BAD_REQUEST)
        if writes and known:
            by_status[409] = dict(CONFLICT)
        for refusal in refusals:
            codes = by_status.setdefault(refusal.status_code, {})
            by_status[refusal.status_code] = codes | {refusal.default_code: refusal.default_detail}
        fields = NOT_A_BODY if body else NOT_A_PARAMETER if refuses_queries else {}
        for status, codes in by_status.items():
            answers[str(status)] = answer(status, codes, fields if status == 400 else {})
        return answers


WHOLE_NUMBER = {"type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_INT64}


def refine(schema: dict[str, Any], field: Any, direction: str) -> None:
    """Say of a field what drf-spectacular leaves out."""
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
            # A blank may be one of either kind.
            schema["anyOf"] = schema.pop("oneOf")
        elif "format" not in schema:
            trimmed = field.trim_whitespace and not field.allow_blank
            schema.setdefault("pattern", NOT_BLANK if trimmed else TEXT)


def nullable_columns(model: type[Model]) -> set[str]:
    """The names, those of references with and without `_id`, of what a row may lack."""
    columns = [column for column in model._meta.concrete_fields if column.null]
    return {name for column in columns for name in (column.name, column.attname)}


def reference_to(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def answer(
    status: int, codes: dict[str, str], fields: dict[str, list[str]] | None = None
) -> dict[str, Any]:
    """An error response with an example of each of `codes`, and of errors by field."""
    schema: dict[str, Any] = reference_to("schemas", "Error")
    examples: dict[str, Any] = {
        code: {"value": {"detail": detail, "code": code}} for code, detail in codes.items()
    }
    if fields:
        by_field = reference_to("schemas", "FieldErrors")
        schema = {"oneOf": [schema, by_field]} if codes else by_field
        examples["fields"] = {"value": fields}
    descriptions = {
        400: "The request is not what it should be, or a rule refuses it. Nothing has changed.",
        409: "Something else happened meanwhile. Nothing has changed.",
        412: "It is not as it was when it was read. Nothing has changed.",
        422: "The key belongs to another request. Nothing has changed.",
    }
    described = {
        "description": ANSWERS[status][1] if status in ANSWERS else descriptions[status],
        "content": {JSON: {"schema": schema, "examples": examples}},
    }
    return {"headers": HEADERS[status], **described} if status in HEADERS else described


def error_codes() -> list[str]:
    """Every `code` that an error may have."""
    shared = [codes for _, _, codes in ANSWERS.values()]
    others = [
        *(CONFLICT, MALFORMED, INVALID, BAD_REQUEST),
        *(LOGIN_FAILED, TOO_MANY_FAILED, TOO_MANY_LOGINS, ELSEWHERE),
    ]
    found = {code for codes in [*shared, *others] for code in codes}
    return sorted(
        found
        | {each.default_code for each in refusals_of(Refusal) if hasattr(each, "default_code")}
    )


def refusals_of(family: type[Refusal]) -> set[type[Refusal]]:
    children = family.__subclasses__()
    return {*children}.union(*(refusals_of(child) for child in children))


def add_shared_components(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Add what the operations refer to: the two kinds of errors, and the answers with them."""
    components = result["components"]
    components["schemas"] |= {
        "Error": {
            "type": "object",
            "description": "What was wrong, for people, and its stable `code`, for programs.",
            "properties": {
                "detail": {"type": "string", "description": "What was wrong, for people."},
                "code": {
                    "type": "string",
                    "enum": error_codes(),
                    "description": "What was wrong, for programs; a code does not change.",
                },
                "index": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "In a batch, the first transfer that was refused, from 0.",
                },
            },
            "required": ["detail", "code"],
        },
        "FieldErrors": {
            "type": "object",
            "description": "What was wrong with each field or parameter; `non_field_errors` is "
            "the body as a whole.",
            "additionalProperties": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
            },
            "minProperties": 1,
        },
    }
    components["schemas"] = dict(sorted(components["schemas"].items()))
    components["responses"] = {
        name: answer(status, codes) for status, (name, _, codes) in ANSWERS.items()
    }
    return result


class RootSchema(Schema):
    """The entry points: a view without a serializer."""

    def get_operation_id(self) -> str:
        return "listEntryPoints"

    def get_summary(self) -> str:
        return "List the entry points"

    def get_response_serializers(self) -> Any:
        paths = {"type": "object", "additionalProperties": {"type": "string", "format": "uri"}}
        entries = {
            "accounts": "http://localhost:8000/api/accounts/",
            "login": "http://localhost:8000/api/login/",
        }
        return OpenApiResponse(paths, examples=[OpenApiExample("Entry points", value=entries)])
