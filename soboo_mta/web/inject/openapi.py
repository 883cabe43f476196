"""The description of the HTTP door at /v1/openapi.json, made of the models it uses.

Bodies are read within bounds before anything looks at them, so that the framework does not
know their models: they are told here.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from soboo_mta.web.inject.answers import Answered, Result, Results
from soboo_mta.web.inject.model import Batch, JsonMessage

_PLACE = "#/components/schemas/{model}"


def _schema(name: str) -> dict[str, str]:
    return {"$ref": _PLACE.format(model=name)}


def _error(what: str) -> dict[str, Any]:  # as the framework wants it: Any
    return {"model": Answered, "description": what}


ERRORS = {
    401: _error("No credential, or a wrong or revoked one."),
    403: _error("Not this account's domain, not verified, suspended; or in clear."),
    404: _error("This account has no such message."),
    408: _error("The body came too slowly."),
    413: _error("The body or the message is too large."),
    415: _error("Another content type than those named, or an encoded body."),
    422: _error(
        "The message or a field of it is wrong, or the key stands for another."
    ),
    429: _error("The quota is used up, or too many wrong logins; see Retry-After."),
    503: _error("Not now: the store, the disk or memory; see Retry-After."),
}

_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 200},
    "description": "A repeat within 24 hours gets the first answer and makes no message.",
}
_ENVELOPE = [
    {
        "name": name,
        "in": place,
        "required": False,
        "schema": schema,
        "description": f"{what} With message/rfc822 alone.",
    }
    for name, place, schema, what in (
        ("from", "query", {"type": "string"}, "The reverse-path; else the author."),
        (
            "to",
            "query",
            {"type": "array", "items": {"type": "string"}},
            "A recipient, as often as there are.",
        ),
        ("Envelope-From", "header", {"type": "string"}, "As from."),
        ("Envelope-To", "header", {"type": "string"}, "As to, with commas between."),
    )
]
ACCEPTING: dict[str, Any] = {  # what the framework's decorator takes: Any
    "status_code": 202,
    "response_model": Answered,
    "responses": {
        200: {"model": Results, "description": "A batch: what became of each message."},
        **{code: told for code, told in ERRORS.items() if code != 404},
    },
    "openapi_extra": {
        "parameters": [_KEY, *_ENVELOPE],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"anyOf": [_schema("JsonMessage"), _schema("Batch")]}
                },
                "message/rfc822": {"schema": {"type": "string", "format": "binary"}},
            },
        },
    },
}


def described(app: FastAPI) -> dict[str, Any]:
    """Return the description, made once."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, routes=app.routes)
        _, models = models_json_schema(
            [
                (JsonMessage, "validation"),
                (Batch, "validation"),
                (Result, "validation"),
            ],
            ref_template=_PLACE,
        )
        parts = found.setdefault("components", {})
        parts.setdefault("schemas", {}).update(models["$defs"])
        parts["securitySchemes"] = {
            "basic": {"type": "http", "scheme": "basic"},
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "The base64 of user_name:secret, as in Basic.",
            },
        }
        for name in ("HTTPValidationError", "ValidationError"):  # never answered here
            del parts["schemas"][name]
        del found["paths"]["/v1/messages/{id}"]["get"]["responses"]["422"]
        found["security"] = [{"basic": []}, {"bearer": []}]
        app.openapi_schema = found
    return app.openapi_schema
