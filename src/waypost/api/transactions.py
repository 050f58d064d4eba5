"""Transactions: consumers that take events themselves, each of them once for each key."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from waypost.api.events import EventOut
from waypost.api.events import shape as shape_event
from waypost.api.operation import Call, Operation
from waypost.api.shapes import (
    GREAT_PAGE,
    Listing,
    Moment,
    PageOf,
    moment,
    page_of,
    page_request,
)
from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.project import Scope
from waypost.model.transaction import CLAIMABLE, Change, Transaction, TransactionState
from waypost.operations.transactions import Held, Transactions, Wanted, Which
from waypost.policy.events import BAD_TYPE, TEXT_MAX, is_type
from waypost.policy.transactions import Output, TxKey
from waypost.web.queries import MicrosInQuery

TAG: Final = "Transactions"
PATH: Final = "/v1/events/{event_token}/transactions"
ONE_PATH: Final = f"{PATH}/{{transaction_token}}"
UNCLAIMED_PATH: Final = "/v1/unclaimed_events"

WAIT_MAX_S: Final = 30
LEASE_MAX_S: Final = 7 * 24 * 3600
_MICROS: Final = 1_000_000
_TYPES_MAX: Final = 10

Lease = Annotated[
    int,
    Meta(ge=1, le=LEASE_MAX_S, description="For so many seconds nobody else may claim the event."),
]
Number = Annotated[int, Meta(ge=1, description="The number of the claim, as it was answered.")]

_CLAIM = """\
One call of all that name the same event and key is answered with 201: that consumer has the event.
Every other one is answered with 409, however close together they come. With `lease_s` the event may
be claimed again once the time has run out, so that the work of a consumer that crashed is done by
another; a heartbeat prolongs it. Without it nobody else ever gets it. With the state `pending` a
transaction is only registered: whoever claims it first has it."""
_UNCLAIMED = """\
From oldest to newest: events that may be claimed for `tx_key` now. Where there are none, the answer
waits for up to `wait_s` seconds and comes as soon as one is accepted. An event that is claimed is
no longer among them, so there are no pages: claim, and ask again."""


class TransactionIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A claim, or a registration ahead."""

    tx_key: TxKey
    lease_s: Lease | None = None
    state: Literal["processing", "pending"] = "processing"


class HeartbeatIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A lease, from now on."""

    claim: Number
    lease_s: Lease


class EndIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The end of a claim, and what is to be kept about it."""

    claim: Number
    output: Output | None = None


class ChangeOut(msgspec.Struct, frozen=True):
    """One change of a transaction: `state` was entered from `former`."""

    state: TransactionState
    former: TransactionState | None
    at: Moment
    api_key: str


class TransactionOut(msgspec.Struct, frozen=True):
    """A transaction; `history` holds its latest changes, oldest first."""

    token: str
    event_token: str
    tx_key: str
    state: TransactionState
    claim: int
    created: Moment
    started_at: Moment | None
    ended_at: Moment | None
    lease_until: Moment | None
    output: str | None
    history: list[ChangeOut]


class UnclaimedQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which events, for whom, and for how long to wait."""

    tx_key: (
        Annotated[str, Meta(description="The key that they are to be claimed for; required.")]
        | None
    ) = None
    event_types: Annotated[
        tuple[str, ...], Meta(max_length=_TYPES_MAX, description="Only events of these types.")
    ] = ()
    begin: (
        Annotated[MicrosInQuery, Meta(description="Only what was accepted then or later.")] | None
    ) = None
    starting_after: Annotated[str, Meta(description="Only events behind this one.")] | None = None
    page_size: Annotated[int, Meta(ge=1, le=GREAT_PAGE, description="How many at most.")] = 50
    wait_s: Annotated[int, Meta(ge=0, le=WAIT_MAX_S, description="How long to wait.")] = 0


class TransactionRoutes:
    """Handlers over the operations on transactions."""

    def __init__(self, transactions: Transactions) -> None:
        """Take the operations."""
        self._transactions = transactions

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about transactions."""
        return [
            Operation(
                method="GET",
                path=UNCLAIMED_PATH,
                name="list_unclaimed_events",
                summary="Wait for events to claim",
                description=_UNCLAIMED,
                tag=TAG,
                scope=Scope.EVENTS_READ,
                query=UnclaimedQuery,
                result=PageOf[EventOut],
                handler=self.unclaimed,
            ),
            Operation(
                method="POST",
                path=PATH,
                name="create_transaction",
                summary="Claim an event",
                description=_CLAIM,
                tag=TAG,
                scope=Scope.TRANSACTIONS_WRITE,
                body=TransactionIn,
                result=TransactionOut,
                status=201,
                errors=(404, 409),
                handler=self.create,
            ),
            Operation(
                method="GET",
                path=PATH,
                name="list_transactions",
                summary="List an event's transactions",
                tag=TAG,
                scope=Scope.EVENTS_READ,
                query=Listing,
                result=PageOf[TransactionOut],
                errors=(404,),
                handler=self.list_page,
            ),
            Operation(
                method="GET",
                path=ONE_PATH,
                name="get_transaction",
                summary="Get a transaction",
                tag=TAG,
                scope=Scope.EVENTS_READ,
                result=TransactionOut,
                errors=(404,),
                handler=self.get,
            ),
            *self._of_holders(),
        ]

    def _of_holders(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path=f"{ONE_PATH}/heartbeat",
                name="heartbeat_transaction",
                summary="Prolong a lease",
                description="Also where it has run out, and nobody has claimed the event since.",
                tag=TAG,
                scope=Scope.TRANSACTIONS_WRITE,
                body=HeartbeatIn,
                result=TransactionOut,
                errors=(404, 409),
                handler=self.heartbeat,
            ),
            *(
                Operation(
                    method="POST",
                    path=f"{ONE_PATH}/{verb}",
                    name=f"{verb}_transaction",
                    summary=f"{verb.capitalize()} a transaction",
                    description="409 where it has ended, or where the claim is another's by now.",
                    tag=TAG,
                    scope=Scope.TRANSACTIONS_WRITE,
                    body=EndIn,
                    result=TransactionOut,
                    errors=(404, 409),
                    handler=handler,
                )
                for verb, handler in (("finish", self.finish), ("fail", self.fail))
            ),
        ]

    async def unclaimed(self, call: Call[UnclaimedQuery, None]) -> PageOf[EventOut]:
        """Wait for events."""
        query = call.query
        events, has_more = await self._transactions.wait(
            call.principal, _wanted(query), query.page_size, query.wait_s
        )
        return PageOf([shape_event(event) for event in events], has_more)

    async def create(self, call: Call[None, TransactionIn]) -> TransactionOut:
        """Claim an event, or register a transaction of it."""
        body = call.body
        which = Which(_event(call.path), tx_key=body.tx_key)
        if body.state == "pending":
            if body.lease_s is not None:
                reason = "must not be given where nobody claims the event yet"
                raise InvalidInput(details=[("lease_s", reason)])
            return _shape_held(await self._transactions.register(call.principal, which))
        lease_us = None if body.lease_s is None else body.lease_s * _MICROS
        return _shape_held(await self._transactions.claim(call.principal, which, lease_us))

    async def list_page(self, call: Call[Listing, None]) -> PageOf[TransactionOut]:
        """List transactions."""
        request = page_request(call.query, ids.TRANSACTION)
        event_id = _event(call.path)
        return page_of(
            await self._transactions.list_page(call.principal, event_id, request), _shape
        )

    async def get(self, call: Call[None, None]) -> TransactionOut:
        """Get a transaction."""
        return _shape_held(await self._transactions.get(call.principal, _which(call.path)))

    async def heartbeat(self, call: Call[None, HeartbeatIn]) -> TransactionOut:
        """Prolong a lease."""
        body = call.body
        return _shape_held(
            await self._transactions.heartbeat(
                call.principal, _which(call.path), body.claim, body.lease_s * _MICROS
            )
        )

    async def finish(self, call: Call[None, EndIn]) -> TransactionOut:
        """Finish a transaction."""
        return await self._end(call, TransactionState.FINISHED)

    async def fail(self, call: Call[None, EndIn]) -> TransactionOut:
        """Fail a transaction."""
        return await self._end(call, TransactionState.FAILED)

    async def _end(self, call: Call[None, EndIn], state: TransactionState) -> TransactionOut:
        body = call.body
        return _shape_held(
            await self._transactions.end(
                call.principal, _which(call.path), state, body.output, body.claim
            )
        )


def _wanted(query: UnclaimedQuery) -> Wanted:
    details = []
    try:
        key = msgspec.convert(query.tx_key or "", TxKey)
    except msgspec.ValidationError:
        key = ""
        details.append(("tx_key", f"must be 1 to {TEXT_MAX} characters, none of them a control"))
    bad = next((kind for kind in query.event_types if not is_type(kind)), None)
    if bad is not None:
        details.append(("event_types", BAD_TYPE))
    after = None
    if query.starting_after is not None:
        after = ids.find(ids.EVENT, query.starting_after)
        if after is None:
            details.append(("starting_after", f"must be a token that begins with {ids.EVENT}_"))
    if details:
        raise InvalidInput(details=details)
    return Wanted(key, CLAIMABLE, query.event_types, begin_us=query.begin or 0, after=after)


def _event(path: dict[str, str]) -> ids.Id:
    return ids.read(ids.EVENT, path["event_token"])


def _which(path: dict[str, str]) -> Which:
    return Which(_event(path), id=ids.read(ids.TRANSACTION, path["transaction_token"]))


def _shape_held(held: Held) -> TransactionOut:
    return _shape(held.transaction)


def _shape(found: Transaction) -> TransactionOut:
    return TransactionOut(
        token=ids.spell(ids.TRANSACTION, found.id),
        event_token=ids.spell(ids.EVENT, found.event_id),
        tx_key=found.tx_key,
        state=found.state,
        claim=found.claim,
        created=moment(ids.moment(found.id)),
        started_at=_moment(found.started_us),
        ended_at=_moment(found.ended_us),
        lease_until=_moment(found.lease_until_us),
        output=found.output,
        history=[_change(change) for change in found.history],
    )


def _change(change: Change) -> ChangeOut:
    key = ids.spell(ids.KEY, change.key_id)
    return ChangeOut(change.state, change.former, moment(change.at_us), key)


def _moment(at_us: int | None) -> Moment | None:
    return None if at_us is None else moment(at_us)
