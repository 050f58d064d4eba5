"""Buildable's API on a real server: its client's loop, its errors, and requests of every kind."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.buildable import Client, Ledger, now_ms
from tests.support.site import Site, Tenant, client, send_raw

NAME = "order.created"
NOTHING = "0" * 32


@pytest.fixture
def buildable(site: Site, tenant: Tenant) -> Iterator[Client]:
    """Have the vendor's client in a project."""
    made = Client(site.url, site.key(tenant.project, name="My key", api="buildable"))
    yield made
    made.close()


def since(buildable: Client) -> int:
    return now_ms() - 60_000


def query(buildable: Client, tx_key: str = "t", **more: Any) -> Any:
    return buildable.ask("/query", eventName=NAME, txKey=tx_key, **more)


def keys(page: Any) -> list[str]:
    return [row["key"] for row in page["rows"]]


@pytest.mark.proves("buildable", "POST /emit", "POST /query", "POST /init", "POST /transact")
def test_the_loop_handles_each_message_once(buildable: Client) -> None:
    emitted = [buildable.emit(NAME, {"n": n}) for n in range(25)]
    ledger, began = Ledger(), now_ms() - 60_000
    handle = ledger.handler("t")
    polls = 0
    while len(ledger.had) < len(emitted):
        # Pages over a set that shrinks: what one poll skips, the next one finds.
        buildable.poll(NAME, handle, tx_key="t", since=began)
        polls += 1
        assert polls < 10
    assert set(ledger.had.values()) == {1}
    assert buildable.poll(NAME, handle, tx_key="t", since=began) == 0
    assert keys(query(buildable, txState="finished", pageSize=100)) == emitted
    assert buildable.poll(NAME, ledger.handler("u"), tx_key="u", since=began) > 0


def test_a_handler_that_throws_fails_the_transaction(buildable: Client) -> None:
    key = buildable.emit(NAME, {"n": 1})

    def broken(_: Any) -> None:
        raise ValueError("no luck")

    assert buildable.poll(NAME, broken, tx_key="t", since=0) == 1
    (row,) = query(buildable, txState="failed")["rows"]
    assert (row["key"], row["state"]) == (key, "failed")
    assert row["processing"]["isCompleted"]


def test_consumers_side_by_side_never_have_the_same(site: Site, tenant: Tenant) -> None:
    secret = site.key(tenant.project, api="buildable")
    producer, ledger = Client(site.url, secret), Ledger()
    for n in range(100):
        producer.emit(NAME, {"n": n})
    start = threading.Barrier(8)

    def consume(number: int) -> None:
        tx_key, own = f"k{number % 2}", Client(site.url, secret)
        start.wait(30)
        while len([place for place in ledger.had if place[0] == tx_key]) < 100:
            own.poll(NAME, ledger.handler(tx_key), tx_key=tx_key, since=0)
        own.close()

    with ThreadPoolExecutor(8) as pool:
        for ended in [pool.submit(consume, number) for number in range(8)]:
            ended.result(120)
    assert set(ledger.had.values()) == {1}
    assert len(ledger.had) == 200
    producer.close()


@pytest.mark.proves("buildable", "POST /init", "POST /transact")
def test_a_transaction_goes_through_its_states(buildable: Client) -> None:
    key = buildable.emit(NAME, {"n": 1})
    assert keys(query(buildable)) == [key]
    claimed = buildable.ask("/init", key=key, txKey="t")
    assert (claimed["state"], claimed["endedAt"]) == ("processing", None)
    assert keys(query(buildable)) == []
    assert keys(query(buildable, txState="processing")) == [key]
    assert buildable.post("/init", key=key, txKey="t").status_code == 409
    assert buildable.post("/transact", key=key, txKey="u", state="failed").status_code == 404
    ended = buildable.ask("/transact", key=key, txKey="t", state="finished", output="o")
    assert (ended["txn"], ended["output"]) == (claimed["txn"], "o")
    assert [row["enterState"] for row in ended["history"]] == ["processing", "finished"]
    for state in ("finished", "failed"):
        assert buildable.post("/transact", key=key, txKey="t", state=state).status_code == 409
    (row,) = query(buildable, txState="finished")["rows"]
    assert row["state"] == "finished"
    buildable.ask("/init", key=key, txKey="another")
    (row,) = query(buildable, txState="finished")["rows"]
    assert (row["state"], row["processing"]["totalTransactions"]) == ("processing", 2)


@pytest.mark.proves("buildable", "POST /update")
def test_update_obeys_the_same_states(buildable: Client) -> None:
    key = buildable.emit(NAME, {"n": 1})
    body = {"key": key, "eventName": NAME, "txKey": "t"}
    assert buildable.post("/update", **body, txState="finished").status_code == 404
    assert buildable.ask("/update", **body, txState="processing")["state"] == "processing"
    assert buildable.post("/update", **body, txState="processing").status_code == 409
    assert buildable.ask("/update", **body, txState="failed")["state"] == "failed"
    again = buildable.ask("/update", **body, txState="failed")
    assert len(again["history"]) == 3
    for state in ("processing", "finished"):
        assert buildable.post("/update", **body, txState=state).status_code == 409


def test_what_was_registered_natively_is_pending(buildable: Client, tenant: Tenant) -> None:
    key = buildable.emit(NAME, {"n": 1})
    event = f"evt_{key[:8]}-{key[8:12]}-{key[12:16]}-{key[16:20]}-{key[20:]}"
    tenant.claim(event, "t", state="pending")
    assert keys(query(buildable)) == []
    assert keys(query(buildable, txState="pending")) == [key]
    assert buildable.ask("/init", key=key, txKey="t")["state"] == "processing"
    shown = tenant.ask(200, "GET", f"/v1/events/{event}")
    assert (shown["platform"], shown["label"]) == ("custom", "My key")


@pytest.mark.proves("buildable", "POST /query")
def test_pages_count_what_is_left(buildable: Client) -> None:
    emitted = [buildable.emit(NAME, {"n": n}) for n in range(7)]
    page = query(buildable, page=2, pageSize=3)
    assert (keys(page), page["total"], page["page"], page["pageSize"], page["totalPages"]) == (
        emitted[3:6],
        7,
        2,
        3,
        3,
    )
    buildable.ask("/init", key=emitted[0], txKey="t")
    assert keys(query(buildable, page=2, pageSize=3)) == emitted[4:]
    assert keys(query(buildable, page=9)) == []


def test_since_belongs_to_what_is_found(buildable: Client) -> None:
    emitted = [buildable.emit(NAME, {"n": n}) for n in range(2)]
    times = [row["createdAt"] for row in query(buildable)["rows"]]
    assert keys(query(buildable, since=times[1]))[-1:] == emitted[1:]
    assert keys(query(buildable, since=times[1] + 1)) == []
    assert keys(query(buildable, since=0)) == emitted


@pytest.mark.proves("buildable", "POST /get-full-event-name")
def test_names_platforms_and_labels_choose(buildable: Client, tenant: Tenant) -> None:
    mine = buildable.emit(NAME, {"n": 1})
    theirs = tenant.post(NAME, platform="stripe", label="shop.one")[4:].replace("-", "")
    buildable.emit("order.paid", {"n": 1})
    full = buildable.topic(NAME)
    assert full.endswith(f".default.test.custom.My-key.{NAME}")
    other = buildable.topic(NAME, platform="stripe", label="shop.one")
    for asked, expected in (
        ({}, [mine, theirs]),
        ({"platform": "custom"}, [mine]),
        ({"label": "shop.one"}, [theirs]),
        ({"platform": "stripe", "label": "My key"}, []),
        ({"eventName": full}, [mine]),
        ({"eventName": other}, [theirs]),
        ({"eventName": full.replace(".test.", ".live.")}, []),
    ):
        body = {"eventName": NAME, "txKey": "t", **asked}
        assert keys(buildable.ask("/query", **body)) == expected, asked
    assert query(buildable)["rows"][0]["eventName"] == NAME
    assert buildable.ask("/init", key=mine, txKey="t", eventName=full)["event"]["eventName"] == NAME


def test_another_consumer_is_expected_while_it_asks(buildable: Client) -> None:
    key = buildable.emit(NAME, {"n": 1})
    query(buildable, "later")
    buildable.ask("/init", key=key, txKey="t")
    (row,) = query(buildable, txState="processing")["rows"]
    assert row["processing"]["hasFutureTransactions"]
    buildable.ask("/init", key=key, txKey="later")
    (row,) = query(buildable, txState="processing")["rows"]
    assert not row["processing"]["hasFutureTransactions"]


def test_test_and_live_do_not_see_each_other(site: Site, buildable: Client) -> None:
    live = site.tenant(environment="production")
    secret = site.key(live.project, api="buildable")
    assert secret.startswith("sk_live_1_")
    other = Client(site.url, secret)
    key = buildable.emit(NAME, {"n": 1})
    assert query(other)["total"] == 0
    assert other.post("/init", key=key, txKey="t").status_code == 404
    other.emit(NAME, {"n": 1})
    assert {row["environment"] for row in query(other)["rows"]} == {"live"}
    assert ".default.live." in other.topic(NAME)
    other.close()


ERRORS: list[tuple[str, dict[str, Any], int, str, str]] = [
    ("/emit", {}, 400, "invalid-request", "event"),
    ("/emit", {"event": NAME}, 400, "invalid-request", "payload"),
    ("/emit", {"event": NAME, "payload": []}, 400, "invalid-request", "payload"),
    ("/emit", {"event": "a b", "payload": {}}, 400, "invalid-request", "event"),
    ("/emit", {"event": NAME, "payload": {}, "x": 1}, 400, "invalid-request", "x"),
    ("/query", {"eventName": NAME}, 400, "invalid-request", "txKey"),
    ("/query", {"eventName": "", "txKey": "t"}, 400, "invalid-request", "eventName"),
    ("/query", {"eventName": "a b", "txKey": "t"}, 400, "invalid-request", "eventName"),
    ("/query", {"eventName": NAME, "txKey": ""}, 400, "invalid-request", "txKey"),
    ("/query", {"eventName": NAME, "txKey": "a\x00"}, 400, "invalid-request", "txKey"),
    ("/query", {"eventName": NAME, "txKey": "t" * 257}, 400, "invalid-request", "txKey"),
    (
        "/query",
        {"eventName": NAME, "txKey": "t", "pageSize": 101},
        400,
        "invalid-request",
        "pageSize",
    ),
    ("/query", {"eventName": NAME, "txKey": "t", "page": 0}, 400, "invalid-request", "page"),
    ("/query", {"eventName": NAME, "txKey": "t", "since": -1}, 400, "invalid-request", "since"),
    ("/query", {"eventName": NAME, "txKey": "t", "since": "x"}, 400, "invalid-request", "since"),
    (
        "/query",
        {"eventName": NAME, "txKey": "t", "txState": "x"},
        400,
        "invalid-request",
        "txState",
    ),
    ("/init", {"key": NOTHING}, 400, "invalid-request", "txKey"),
    ("/init", {"key": NOTHING, "txKey": "t"}, 404, "not-found", ""),
    ("/init", {"key": "nonsense", "txKey": "t"}, 404, "not-found", ""),
    ("/transact", {"key": NOTHING, "txKey": "t"}, 400, "invalid-request", "state"),
    (
        "/transact",
        {"key": NOTHING, "txKey": "t", "state": "processing"},
        400,
        "invalid-request",
        "state",
    ),
    ("/transact", {"key": NOTHING, "txKey": "t", "state": "failed"}, 404, "not-found", ""),
    (
        "/update",
        {"key": NOTHING, "eventName": NAME, "txKey": "t", "txState": "pending"},
        400,
        "invalid-request",
        "txState",
    ),
    (
        "/update",
        {"key": NOTHING, "eventName": NAME, "txKey": "t", "txState": "processing"},
        404,
        "not-found",
        "",
    ),
    ("/get-full-event-name", {}, 400, "invalid-request", "eventName"),
    ("/get-full-event-name", {"eventName": "v1/x"}, 400, "invalid-request", "eventName"),
]
PATHS = sorted({path for path, *_ in ERRORS})


def check(answer: Any, status: int) -> None:
    """Hold a refusal against the envelope."""
    assert {"status", "name", "message", "code", "data"} == set(answer)
    assert (answer["status"], answer["code"]) == ("error", status)
    assert answer["name"]
    assert answer["message"]


@pytest.mark.parametrize("path, body, status, name, blamed", ERRORS)
def test_each_mistake_has_its_answer(
    buildable: Client, path: str, body: dict[str, Any], status: int, name: str, blamed: str
) -> None:
    response = buildable.post(path, **body)
    answer = response.json()
    assert response.status_code == status, answer
    check(answer, status)
    assert answer["name"] == name
    places = [error["path"] for error in answer["data"].get("errors", [])]
    assert places == ([blamed] if blamed else [])


def test_whoever_may_not_is_told_so(site: Site, tenant: Tenant) -> None:
    event = tenant.post(NAME)[4:].replace("-", "")
    bodies: dict[str, Any] = {
        "/emit": {"event": NAME, "payload": {}},
        "/query": {"eventName": NAME, "txKey": "t"},
        "/init": {"key": event, "txKey": "t"},
        "/update": {"key": event, "eventName": NAME, "txKey": "t", "txState": "processing"},
        "/transact": {"key": event, "txKey": "t", "state": "finished"},
        "/get-full-event-name": {"eventName": NAME},
    }
    assert sorted(bodies) == PATHS
    scopes = {
        "/emit": "events.write",
        "/query": "events.read",
        "/get-full-event-name": "events.read",
    }
    with client(site.url, None) as by:
        by.event_hooks = {}
        for path, body in bodies.items():
            for headers, said in (
                ({}, "Missing x-buildable-secret header"),
                ({"x-buildable-secret": "nonsense"}, "Invalid secret"),
            ):
                answer = by.post(path, json=body, headers=headers)
                check(answer.json(), 401)
                assert (answer.status_code, answer.json()["name"]) == (401, "invalid-secret")
                assert answer.json()["message"] == said
            needed = scopes.get(path, "transactions.write")
            lacking = sorted({"events.write", "events.read", "transactions.write"} - {needed})
            secret = site.key(tenant.project, scopes=lacking, api="buildable")
            answer = by.post(path, json=body, headers={"x-buildable-secret": secret})
            assert (answer.status_code, answer.json()["name"]) == (403, "not-permitted")
            answer = by.get(path)
            check(answer.json(), 405)
            plain = {"x-buildable-secret": tenant.key, "content-encoding": "gzip"}
            check(by.post(path, json=body, headers=plain).json(), 415)
            huge = b" " * 2**24
            check(
                by.post(path, content=huge, headers={"x-buildable-secret": tenant.key}).json(), 413
            )


def test_a_body_in_chunks_is_as_good(site: Site, tenant: Tenant) -> None:
    body = b'{"event": "order.created", "payload": {"n": 1}}'
    head = f"POST /emit HTTP/1.1\nHost: x\nX-BUILDABLE-secret: {tenant.key}\nConnection: close\n"
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    status, answer = send_raw(site.url, f"{head}Transfer-Encoding: chunked", chunked)
    assert status == 200
    assert answer.startswith(b'{"status":"success","key":"')


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from([NAME, NOTHING, "finished", "processing", "t", "v1/x.default.test.a.b.c"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
FIELDS = sorted(
    {field for _, body, *_ in ERRORS for field in body} | {"output", "platform", "label"}
)


@given(path=st.sampled_from(PATHS), body=st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON)
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_is_an_error_of_the_servers(buildable: Client, path: str, body: Any) -> None:
    response = buildable._http.post(path, json=body)
    assert response.status_code in {200, 400, 404, 409}, response.text
    if response.status_code != 200:
        check(response.json(), response.status_code)
