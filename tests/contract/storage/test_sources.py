"""Sources come back as they were kept, to their own project alone, and their secrets to nobody."""

from typing import Any

import pytest
from sqlalchemy import select, update

from tests.support.database import Records
from tests.support.manual import SeededEntropy
from waypost.model.errors import ConfigInvalid, NotFound
from waypost.model.page import Page, PageRequest
from waypost.model.source import (
    ApiKeyHeader,
    BasicAuth,
    CustomResponse,
    Encoding,
    GitHub,
    HashName,
    Hmac,
    Source,
    SourceType,
    Twitter,
)
from waypost.storage import sources
from waypost.storage.surfaces import sources as table
from waypost.storage.vault import Vault

VAULT = Vault(bytes(range(32)), SeededEntropy())


def kept(records: Records, **settings: Any) -> Source:
    source_id = records.ids.next()
    made = Source(
        **{"project_id": records.project, "id": source_id, "mask": source_id.hex(), "name": "s"}
        | settings
    )
    sources.insert(records.connection, VAULT, made)
    return made


def test_every_field_comes_back(records: Records) -> None:
    made = kept(
        records,
        type=SourceType.HTTP,
        verifier=Hmac("x-sig", "top secret", HashName.SHA512, Encoding.BASE64),
        custom_response=CustomResponse("ok", "text/html"),
        event_type_location="request.body.t",
        idempotency_keys=("request.body.a", "request.query.b"),
        forward_headers=("x-a",),
        max_bytes=99,
        disabled=True,
        challenged_us=7,
    )
    assert sources.get(records.connection, VAULT, records.project, made.id) == made
    posted = kept(records, type=SourceType.REST_API)
    assert sources.find(records.connection, VAULT, records.project, posted.id) == posted


@pytest.mark.parametrize(
    "verifier", [GitHub("g"), Twitter("t"), BasicAuth("ada", "pass"), ApiKeyHeader("k", "x-key")]
)
def test_every_verifier_comes_back(records: Records, verifier: Any) -> None:
    made = kept(records, verifier=verifier)
    assert sources.get(records.connection, VAULT, records.project, made.id).verifier == verifier


def test_what_is_changed_is_kept(records: Records) -> None:
    made = kept(records)
    changed = Source(
        project_id=made.project_id,
        id=made.id,
        mask=made.mask,
        name="t",
        verifier=GitHub("g"),
        disabled=True,
    )
    sources.update(records.connection, VAULT, changed)
    assert sources.get(records.connection, VAULT, records.project, made.id) == changed


def test_its_secret_is_encrypted_and_bound_to_its_row(records: Records) -> None:
    one, two = kept(records, verifier=GitHub("top secret")), kept(records)
    row = records.connection.execute(select(table).where(table.c.id == one.id)).one()
    assert b"top secret" not in row.verifier
    assert b"github" not in row.verifier
    moved = update(table).where(table.c.id == two.id).values(verifier=row.verifier)
    records.connection.execute(moved)
    with pytest.raises(ConfigInvalid):
        sources.get(records.connection, VAULT, records.project, two.id)


def test_another_project_does_not_find_it(records: Records) -> None:
    made, connection = kept(records), records.connection
    assert sources.find(connection, VAULT, records.other, made.id) is None
    with pytest.raises(NotFound, match="source not found"):
        sources.get(connection, VAULT, records.other, made.id)
    with pytest.raises(NotFound):
        sources.delete(connection, records.other, made.id)
    assert sources.count(connection, records.other) == 0
    assert sources.list_page(connection, VAULT, records.other, PageRequest()).items == []
    assert sources.get(connection, VAULT, records.project, made.id) == made


def test_they_are_listed_from_newest_to_oldest_and_loaded_all(records: Records) -> None:
    first, other, third = kept(records), kept(records, project_id=records.other), kept(records)
    connection = records.connection
    page = sources.list_page(connection, VAULT, records.project, PageRequest())
    assert page == Page([third, first], has_more=False)
    loaded = sources.load_all(connection, VAULT)
    assert {source.id for source in loaded} == {first.id, other.id, third.id}
    assert sources.count(connection, records.project) == 2


def test_a_deleted_one_is_gone(records: Records) -> None:
    made = kept(records)
    sources.delete(records.connection, records.project, made.id)
    assert sources.find(records.connection, VAULT, records.project, made.id) is None
    with pytest.raises(NotFound):
        sources.delete(records.connection, records.project, made.id)
