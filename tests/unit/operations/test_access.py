"""Who calls, what they may do, and how often."""

import pytest

from tests.support.manual import ManualClock
from waypost.model import ids
from waypost.model.errors import (
    NotAuthenticated,
    NotFound,
    NotPermitted,
    TooManyRequests,
    Unavailable,
)
from waypost.model.project import PROJECT_SCOPES, ApiKey, Scope
from waypost.operations.access import (
    BAD_FORM,
    INACTIVE_KEY,
    NO_KEY,
    UNKNOWN_KEY,
    Access,
    AccessConfig,
)
from waypost.policy.credentials import digest
from waypost.policy.rate import Allowance

MINE, OTHER, GONE = (ids.make(1, chance) for chance in (1, 2, 3))
KEY_ID, OTHER_KEY_ID = ids.make(2, 1), ids.make(2, 2)
KEY, OTHER_KEY, ADMIN_KEY = b"wp_test_mine", b"wp_test_other", "an admin key".replace(" ", "-")
CONFIG = AccessConfig(reads=Allowance(1.0, 2), writes=Allowance(1.0, 3))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def key(key_id: ids.Id, project_id: ids.Id, **fields: object) -> ApiKey:
    return ApiKey(key_id, project_id, "app", **{"scopes": PROJECT_SCOPES} | fields)  # type: ignore[arg-type] # fields by name


@pytest.fixture
def access(clock: ManualClock) -> Access:
    made = Access(clock, CONFIG)
    keys = [
        (digest(KEY), key(KEY_ID, MINE)),
        (digest(OTHER_KEY), key(OTHER_KEY_ID, OTHER, scopes=frozenset({Scope.EVENTS_READ}))),
    ]
    made.load([MINE, OTHER], keys)
    made.bootstrap(ADMIN_KEY, MINE)
    return made


@pytest.mark.parametrize("form", [b"%b", b"Bearer %b", b"bearer %b", b"BEARER  %b"])
def test_a_key_is_taken_as_it_is_or_as_a_bearer(access: Access, form: bytes) -> None:
    principal = access.authenticate(form % KEY)
    assert (principal.key_id, principal.project_id) == (KEY_ID, MINE)
    assert principal.scopes == PROJECT_SCOPES


@pytest.mark.parametrize(
    "authorization, message",
    [
        (None, NO_KEY),
        (b"", NO_KEY),
        (b"Bearer ", BAD_FORM),
        (b"Basic abc", BAD_FORM),
        (b"Token token=abc", BAD_FORM),
        (b"wp_test_unknown", UNKNOWN_KEY),
        (b"Bearer", UNKNOWN_KEY),
        (b"\xff\xfe", UNKNOWN_KEY),
    ],
)
def test_what_is_no_good_key_is_refused_in_the_vendors_words(
    access: Access, authorization: bytes | None, message: str
) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        access.authenticate(authorization)
    assert refused.value.message == message


def test_a_revoked_key_is_good_for_nothing_at_once(access: Access) -> None:
    access.revoke(KEY_ID)
    with pytest.raises(NotAuthenticated, match=INACTIVE_KEY):
        access.authenticate(KEY)
    access.authenticate(OTHER_KEY)


def test_a_key_that_was_revoked_before_the_start_is_known_and_no_good(clock: ManualClock) -> None:
    access = Access(clock, CONFIG)
    access.load([MINE], [(digest(KEY), key(KEY_ID, MINE, revoked_at_us=5))])
    with pytest.raises(NotAuthenticated, match=INACTIVE_KEY):
        access.authenticate(KEY)


def test_a_key_is_good_until_it_expires(access: Access, clock: ManualClock) -> None:
    expires = clock.now_us() + 1_000_000
    access.add(digest(b"brief"), key(ids.make(3, 1), MINE, expires_at_us=expires))
    clock.forward(0.999)
    access.authenticate(b"brief")
    clock.forward(0.001)
    with pytest.raises(NotAuthenticated, match=INACTIVE_KEY):
        access.authenticate(b"brief")


def test_an_admin_key_may_do_everything(access: Access) -> None:
    admin = access.authenticate(ADMIN_KEY.encode())
    for scope in Scope:
        assert access.authorize(admin, scope, None).project_id == MINE


def test_a_missing_scope_is_refused(access: Access) -> None:
    principal = access.authenticate(OTHER_KEY)
    assert access.authorize(principal, Scope.EVENTS_READ, None) is principal
    for scope in set(Scope) - {Scope.EVENTS_READ}:
        with pytest.raises(NotPermitted, match=scope.value):
            access.authorize(principal, scope, None)


def named(project_id: ids.Id) -> bytes:
    return ids.spell(ids.PROJECT, project_id).encode()


def test_an_admin_key_may_name_any_project_there_is(access: Access) -> None:
    admin = access.authenticate(ADMIN_KEY.encode())
    assert access.authorize(admin, Scope.ADMIN, named(OTHER)).project_id == OTHER
    for unknown in (named(GONE), b"prj_x", b"", b"\xff"):
        with pytest.raises(NotFound, match="project not found"):
            access.authorize(admin, Scope.ADMIN, unknown)
    access.add_project(GONE)
    assert access.authorize(admin, Scope.ADMIN, named(GONE)).project_id == GONE


def test_another_key_may_name_its_own_project_alone(access: Access) -> None:
    principal = access.authenticate(KEY)
    assert access.authorize(principal, Scope.EVENTS_READ, named(MINE)) is principal
    with pytest.raises(NotFound, match="project not found"):
        access.authorize(principal, Scope.EVENTS_READ, named(OTHER))


def test_the_keys_of_a_deleted_project_are_good_for_nothing(access: Access) -> None:
    access.remove_project(OTHER)
    with pytest.raises(NotAuthenticated, match=INACTIVE_KEY):
        access.authenticate(OTHER_KEY)
    admin = access.authenticate(ADMIN_KEY.encode())
    with pytest.raises(NotFound):
        access.authorize(admin, Scope.ADMIN, named(OTHER))


def test_reads_and_writes_are_counted_apart_and_by_key(access: Access) -> None:
    mine, other = access.authenticate(KEY), access.authenticate(OTHER_KEY)
    assert [access.spend(mine, reads=True) for _ in range(2)] == [1, 0]
    assert [access.spend(mine, reads=False) for _ in range(3)] == [2, 1, 0]
    with pytest.raises(TooManyRequests):
        access.spend(mine, reads=True)
    assert access.spend(other, reads=True) == 1


def test_who_has_spent_everything_is_told_when_to_come_again(
    access: Access, clock: ManualClock
) -> None:
    mine = access.authenticate(KEY)
    for _ in range(2):
        access.spend(mine, reads=True)
    with pytest.raises(TooManyRequests) as refused:
        access.spend(mine, reads=True)
    assert refused.value.message == "Rate limited, too many requests per second"
    assert refused.value.retry_after_s == pytest.approx(1.0)
    clock.forward(refused.value.retry_after_s)
    assert access.spend(mine, reads=True) == 0


def test_secrets_are_not_kept(access: Access) -> None:
    assert KEY not in access._by_digest
    assert KEY.decode() not in repr(vars(access))


def test_nobody_is_let_in_while_it_cannot_be_known_which_keys_are_good(
    access: Access, clock: ManualClock
) -> None:
    access.confirmed_until = clock.monotonic() + 1
    access.authenticate(KEY)
    clock.forward(1.1)
    with pytest.raises(Unavailable) as refused:
        access.authenticate(KEY)
    assert refused.value.retry_after_s > 0
    access.confirmed_until = clock.monotonic()
    access.authenticate(KEY)


def test_a_key_may_hold_several_projects_as_long_as_they_are_there(access: Access) -> None:
    said = frozenset({"events.read"})
    made = key(ids.make(2, 3), MINE, tenants=(OTHER, GONE), permissions=said)
    access.add(digest(b"several"), made)
    caller = access.authenticate(b"several")
    assert access.enter(caller, MINE) == caller
    other = access.enter(caller, OTHER)
    assert (other.project_id, other.permissions, other.key_id) == (OTHER, said, made.id)
    assert access.authorize(caller, Scope.EVENTS_READ, named(OTHER)) == other
    assert (access.knows(OTHER), access.knows(GONE)) == (True, False)
    for lost in (GONE, ids.make(1, 9)):
        with pytest.raises(NotFound):
            access.enter(caller, lost)
    access.remove_project(OTHER)
    with pytest.raises(NotFound):
        access.enter(caller, OTHER)
