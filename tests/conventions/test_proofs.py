"""Every operation has a test that proves it, and the page that says so is up to date."""

import asyncio
import urllib.request

import httpx
import pytest

from tests.support import proofs
from tests.support.proofs import Answered, Claim, Operation
from tests.support.receiver import receiver
from tests.support.relay import relay


def test_each_operation_is_proved() -> None:
    proved = {proof.claim.operation for proof in proofs.proofs()}
    assert [one for one in proofs.operations() if one not in proved] == []


def test_each_proof_is_of_an_operation_that_is_there() -> None:
    known = set(proofs.operations())
    strays = [(one.test, one.claim.operation) for one in proofs.proofs()]
    assert [stray for stray in strays if stray[1] not in known] == []


def test_each_api_has_its_operations() -> None:
    found = [one.api for one in proofs.operations()]
    counts = {api: found.count(api) for api in proofs.APIS}
    assert (counts["lithic"], counts["socotra"]) == (15, 14)
    assert (counts["buildable"], counts["stedi"]) == (6, 9)
    assert set(found) == set(proofs.APIS)


def test_the_page_is_what_the_tests_say() -> None:
    assert proofs.DOCUMENT.read_text("utf-8") == proofs.document(), "run `make proofs`"


LIST = Claim(Operation("stedi", "GET /events"), refused=False)
ONE = Claim(Operation("stedi", "GET /events/{eventId}"), refused=False)


@pytest.mark.parametrize(
    "method, path, status, proved",
    [
        ("GET", "/events", 200, LIST),
        ("GET", "/2026-02-01/events", 200, LIST),
        ("GET", "/events/evt_1", 200, ONE),
        ("GET", "/events/evt_1", 404, Claim(ONE.operation, refused=True)),
        ("GET", "/events", 500, None),
        ("POST", "/events", 200, None),
        ("GET", "/v1/events", 200, Claim(Operation("lithic", "GET /v1/events"), refused=False)),
    ],
)
def test_a_claim_is_borne_out_by_its_own_answer_alone(
    method: str, path: str, status: int, proved: Claim | None
) -> None:
    claims = [LIST, ONE, *([proved] if proved is not None else [])]
    left = proofs.unproved(claims, [Answered(method, path, status)])
    assert left == [claim for claim in claims if claim != proved]


async def test_what_is_answered_is_noted_whoever_asks() -> None:
    with receiver() as listening, relay(listening.url) as url, proofs.noting() as answered:
        httpx.post(f"{listening.url}/sync", content=b"")
        async with httpx.AsyncClient() as client:
            await client.post(f"{listening.url}/async", content=b"")
        request = urllib.request.Request(f"{url}/relayed?a=b", data=b"x", method="POST")
        await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=60).close())
    assert answered == [
        Answered("POST", "/hook/sync", 204),
        Answered("POST", "/hook/async", 204),
        Answered("POST", "/relayed", 204),
    ]
