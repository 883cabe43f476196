"""What became of a message, for its own tenant alone; and the description of it all."""

from dataclasses import replace
from typing import Any

import httpx

from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import Reason
from soboo_mta.spool.lifecycle import RecipientState
from soboo_mta.spool.view import QueuedMessage, QueueEntry
from soboo_mta.submission import replies
from tests.fakes.http_door import HELLO, injecting
from tests.fakes.submission import ACME, OTHER, desk

ID = MessageId(1 << 40)
ENTRY = QueueEntry(
    message_id=ID,
    position=0,
    tenant=ACME,
    author="shop@acme.example",
    recipient="rcpt@dest.example",
    state=RecipientState.DEFERRED,
    reason=Reason.REPLY,
    explanation="451 4.7.1 Greylisted",
    site="",
    due_at=1_767_225_600_000,
    attempts=1,
    size=100,
    accepted_at=1_767_225_000_000,
    expires_at=1_767_657_000_000,
)


def kept(tenant: TenantId = ACME, message_id: MessageId = ID) -> QueuedMessage:
    return QueuedMessage(
        message_id=message_id,
        tenant=tenant,
        domain_id=DomainId(1),
        reverse_path="shop@acme.example",
        author="shop@acme.example",
        header_message_id="<1@acme.example>",
        client="192.0.2.9",
        size=100,
        accepted_at=ENTRY.accepted_at,
        expires_at=ENTRY.expires_at,
        settled_at=None,
        recipients=(ENTRY, replace(ENTRY, position=1, due_at=None)),
    )


async def test_a_message_is_told_recipient_by_recipient() -> None:
    async with injecting(desk(), status={ID: kept()}) as client:
        answer = await client.get(f"/v1/messages/{ID}")
    body = answer.json()
    first = body["recipients"].pop(0)
    assert first == {
        "recipient": "rcpt@dest.example",
        "state": "deferred",
        "reason": "reply",
        "explanation": "451 4.7.1 Greylisted",
        "due_at": "2026-01-01T00:00:00Z",
        "attempts": 1,
    }
    assert body["recipients"][0]["due_at"] is None
    assert (body["id"], body["from"]) == (str(ID), "shop@acme.example")
    assert (body["message_id"], body["settled_at"]) == ("<1@acme.example>", None)
    assert "192.0.2.9" not in answer.text  # the operator's to know


async def test_case_058_anothers_message_is_answered_as_one_that_never_was() -> None:
    theirs = MessageId(ID + 1)
    status = {ID: kept(), theirs: kept(OTHER, theirs)}
    async with injecting(desk(), status=status) as client:
        answers = [
            await client.get(f"/v1/messages/{one}")
            for one in (theirs, MessageId(ID + 2), "0", "%00", "a" * 300, "ID")
        ]
        assert (await client.get(f"/v1/messages/{ID}")).status_code == 200
    assert {one.status_code for one in answers} == {404}
    assert len({one.text for one in answers}) == 1
    async with injecting(desk(), status=status, auth=("operator", "s3cret")) as client:
        assert (await client.get(f"/v1/messages/{theirs}")).status_code == 200
    async with injecting(desk(), status=status, auth=("acme", "wrong")) as client:
        assert (await client.get(f"/v1/messages/{ID}")).status_code == 401


async def test_case_058_an_operators_credential_sends_for_the_domains_owner() -> None:
    one = desk()
    async with injecting(one, auth=("operator", "s3cret")) as client:
        body = HELLO | {"from": "x@other.example", "idempotency_key": "k"}
        assert (await client.post("/v1/messages", json=body)).status_code == 202
    (message,) = one.spool.kept
    assert message.tenant == OTHER
    assert message.once is not None
    assert message.once.scope == ""  # not the tenant's: its own keys stay free


# ---- the description


async def test_the_description_is_true_to_what_is_answered() -> None:
    one = desk()
    wrong: dict[str, Any] = HELLO | {"subject": "a\nb"}
    async with injecting(one, status={ID: kept()}) as client:
        told = (await client.get("/v1/openapi.json")).json()
        answers = [
            await client.post("/v1/messages", json=HELLO),
            await client.post("/v1/messages", json={"messages": [HELLO, wrong]}),
            await client.post("/v1/messages", json=wrong),
            await client.post("/v1/messages", content=b"", headers={"x": "y"}),
            await client.post("/v1/messages", json=HELLO, auth=("acme", "wrong")),
            await client.get(f"/v1/messages/{ID}"),
            await client.get("/v1/messages/0"),
        ]
        one.quota.left = 0
        answers.append(await client.post("/v1/messages", json=HELLO))
    for answer in answers:
        path = "/v1/messages" + ("/{id}" if answer.request.method == "GET" else "")
        operation = told["paths"][path][answer.request.method.lower()]
        described = operation["responses"][str(answer.status_code)]
        schema = described["content"]["application/json"]["schema"]
        check(told, schema, answer.json())
    assert {one.status_code for one in answers} == {202, 200, 422, 415, 401, 404, 429}


async def test_the_description_names_every_key_that_is_taken() -> None:
    async with injecting(desk()) as client:
        told = (await client.get("/v1/openapi.json")).json()
        keys = told["components"]["schemas"]["JsonMessage"]["properties"]
        for key in keys:
            answer = await client.post("/v1/messages", json=HELLO | {key: {"?": 1}})
            assert (
                "no such key" not in answer.json()["text"]
                or key != answer.json()["field"]
            )
        answer = await client.post("/v1/messages", json=HELLO | {"sender": "x"})
        assert answer.json()["text"] == "sender: there is no such key"
    body = told["paths"]["/v1/messages"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "message/rfc822"}


async def test_every_page_needs_a_credential_but_the_description() -> None:
    async with injecting(desk(), auth=None) as client:
        told = (await client.get("/v1/openapi.json")).json()
        for path, operations in told["paths"].items():
            for method in operations:
                answer = await client.request(method, path.replace("{id}", str(ID)))
                assert answer.status_code == 401, path


async def test_an_error_of_ours_is_503_in_the_one_shape(
    caplog: Any,
) -> None:
    one = desk()
    one.spool.failure = ValueError("a bug")
    async with injecting(one) as client:
        answer: httpx.Response = await client.post("/v1/messages", json=HELLO)
    assert answer.status_code == 503
    assert answer.json()["text"] == replies.INTERNAL.text
    assert "a bug" not in answer.text
    assert any(isinstance(error, ValueError) for error in one.log.errors)


def check(told: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Whether `value` is of `schema`, as far as these schemas go."""
    if "$ref" in schema:
        schema = told["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        kinds = {"string": str, "array": list, "null": type(None)}
        allowed = {kinds[one["type"]]: one for one in schema["anyOf"]}
        assert type(value) in allowed, schema
        if value is not None:
            check(told, allowed[type(value)], value)
        return
    match schema["type"]:
        case "object":
            assert set(value) <= set(schema["properties"])
            assert set(schema.get("required", ())) <= set(value)
            for name, inner in value.items():
                check(told, schema["properties"][name], inner)
        case "array":
            for inner in value:
                check(told, schema["items"], inner)
        case kind:
            assert isinstance(value, {"string": str, "integer": int}[kind])
