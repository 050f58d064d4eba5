"""Event subscriptions over HTTP: themselves, and their secrets."""

from typing import Any, Final

import msgspec

from waypost.api.deliveries import AttemptOut, AttemptsQuery, attempt_out
from waypost.api.failure_handling import (
    MASKED,
    FailureHandlingOut,
    SuspensionOut,
    handling_out,
    suspension_out,
)
from waypost.api.operation import Call, Operation
from waypost.api.shapes import (
    Listing,
    Moment,
    PageOf,
    moment,
    page_of,
    page_request,
)
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.authentication import Authentication
from waypost.model.flow import Breaker, Priority, RateLimit, SendingHours
from waypost.model.project import Principal, Scope
from waypost.model.subscription import NOTHING_SET, Inheritable, Subscription
from waypost.model.transform import Language, Transform
from waypost.model.verification import Verification, VerificationMode, VerificationState
from waypost.operations.deliveries import Deliveries
from waypost.operations.signing_keys import SigningKeys
from waypost.operations.subscriptions import Subscriptions
from waypost.policy import transforms
from waypost.policy.settings import ContentFilter, Settings, schedule_name
from waypost.policy.terms import inherited, terms_of
from waypost.policy.transforms import TransformIn

TAG: Final = "Event subscriptions"
PATH: Final = "/v1/event_subscriptions"
ONE: Final = f"{PATH}/{{event_subscription_token}}"

_NO_FILTER: Final = msgspec.Raw(b"null")
_SPELLED: Final = {"retry_schedule_s": "retry_schedule", "verify": "verification"}
"""Names on the wire where they differ from those of the fields."""


class SubscriptionIn(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request that makes or changes a subscription."""

    url: str


class VerificationOut(msgspec.Struct, frozen=True):
    """How far the verification of a URL is: nothing is sent until its state is verified.

    Attributes:
        since: when it was verified or failed.
        reason: why it failed.
        allowed_per_minute: requests a minute that the receiver allows; null for no limit.
    """

    state: VerificationState
    since: Moment | None
    reason: str | None
    allowed_per_minute: int | None


class SubscriptionOut(msgspec.Struct, frozen=True):
    """A subscription on the wire.

    The secrets in `authentication` are masked; the values of `headers`, and `transform`, for a key
    that may not change subscriptions. Of settings for which the project may have defaults, what
    holds is shown; `inherited` names those not set here.
    """

    token: str
    created: Moment
    updated: Moment
    api: Api
    name: str
    description: str
    url: str
    disabled: bool
    disabled_reason: str | None
    paused: bool
    suspended: bool
    suspension: SuspensionOut | None
    event_types: tuple[str, ...] | None
    owner: str | None
    headers: dict[str, str]
    insecure_tls: bool
    format: str
    signing: str
    timeout_s: float
    concurrency: int
    retry_schedule: str | tuple[float, ...]
    failure_handling: FailureHandlingOut
    rate_limit: RateLimit | None
    breaker: Breaker
    sending_hours: SendingHours | None
    priority: Priority
    deliver_before_s: int | None
    inherited: tuple[str, ...]
    filter: ContentFilter
    transform: TransformIn | None
    verification: VerificationMode
    verification_status: VerificationOut | None
    authentication: Authentication | None
    ordering: str
    on_order_failure: str
    failing_since: Moment | None


class SecretOut(msgspec.Struct, frozen=True):
    """A subscription's present secret; of an ed25519 key the public half."""

    secret: str


class SubscriptionRoutes:
    """The handlers of the operations on subscriptions."""

    def __init__(
        self, subscriptions: Subscriptions, keys: SigningKeys, deliveries: Deliveries
    ) -> None:
        """Take what they call."""
        self._subscriptions = subscriptions
        self._keys = keys
        self._deliveries = deliveries

    def operations(self) -> list[Operation]:
        """Return the rows of the API's table."""
        return [
            *self._reading(),
            *self._writing(),
            *self._states(),
            *self._secrets(),
        ]

    def _reading(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path=PATH,
                name="list_event_subscriptions",
                summary="List event subscriptions",
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_READ,
                handler=self._list,
                query=Listing,
                result=PageOf[SubscriptionOut],
            ),
            Operation(
                method="GET",
                path=ONE,
                name="get_event_subscription",
                summary="Get an event subscription",
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_READ,
                handler=self._get,
                result=SubscriptionOut,
                errors=(404,),
            ),
            Operation(
                method="GET",
                path=f"{ONE}/attempts",
                name="list_attempts_of_event_subscription",
                summary="List the attempts to deliver to an event subscription",
                tag=TAG,
                scope=Scope.EVENTS_READ,
                handler=self._list_attempts,
                query=AttemptsQuery,
                result=PageOf[AttemptOut],
                errors=(404,),
            ),
        ]

    def _writing(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path=PATH,
                name="create_event_subscription",
                summary="Create an event subscription",
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                handler=self._create,
                body=SubscriptionIn,
                result=SubscriptionOut,
                status=201,
                errors=(422,),
            ),
            Operation(
                method="PATCH",
                path=ONE,
                name="update_event_subscription",
                summary="Change an event subscription",
                description=(
                    "The URL is required. What else is left out stays as it is; null sets a field"
                    " to its default. Another signature scheme rotates the secret."
                ),
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                handler=self._update,
                body=SubscriptionIn,
                result=SubscriptionOut,
                errors=(404, 422),
            ),
            Operation(
                method="DELETE",
                path=ONE,
                name="delete_event_subscription",
                summary="Delete an event subscription",
                description="What it is owed is cancelled.",
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                handler=self._delete,
                status=204,
                errors=(404,),
            ),
        ]

    def _states(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path=f"{ONE}/{verb}",
                name=f"{verb}_event_subscription",
                summary=summary,
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                handler=handler,
                result=SubscriptionOut,
                errors=(404, 422) if verb == "verify" else (404,),
            )
            for verb, summary, handler in (
                ("pause", "Stop sending; what is owed is kept", self._pause),
                ("resume", "Go on sending after a pause", self._resume),
                ("unsuspend", "Go on sending after a suspension", self._unsuspend),
                ("verify", "Verify the URL anew; nothing is sent until it is", self._verify),
            )
        ]

    def _secrets(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path=f"{ONE}/secret",
                name="get_event_subscription_secret",
                summary="Get the secret of an event subscription",
                description="Of a subscription with the scheme v1a, the public key.",
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                handler=self._secret,
                result=SecretOut,
                errors=(404,),
            ),
            Operation(
                method="POST",
                path=f"{ONE}/secret/rotate",
                name="rotate_event_subscription_secret",
                summary="Rotate the secret of an event subscription",
                description=(
                    "The previous secret goes on signing beside the new one for 24 hours; at most"
                    " 10 previous ones do."
                ),
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                handler=self._rotate,
                status=204,
                errors=(404,),
            ),
        ]

    async def _list_attempts(self, call: Call[AttemptsQuery, None]) -> PageOf[AttemptOut]:
        page = await self._deliveries.attempts_of_subscription(
            call.principal,
            subscription_id(call),
            page_request(call.query, ids.ATTEMPT),
            call.query.status,
        )
        return page_of(page, attempt_out)

    async def _list(self, call: Call[Listing, None]) -> PageOf[SubscriptionOut]:
        request = page_request(call.query, ids.SUBSCRIPTION)
        page = await self._subscriptions.list_page(call.principal, request)
        return page_of(page, lambda one: self._shape(one, call))

    async def _create(self, call: Call[None, SubscriptionIn]) -> SubscriptionOut:
        made = await self._subscriptions.create(call.principal, call.body)
        return self._shape(made, call)

    async def _get(self, call: Call[None, None]) -> SubscriptionOut:
        found = await self._subscriptions.get(call.principal, subscription_id(call))
        return self._shape(found, call)

    async def _update(self, call: Call[None, SubscriptionIn]) -> SubscriptionOut:
        changed = await self._subscriptions.update(call.principal, subscription_id(call), call.body)
        return self._shape(changed, call)

    async def _delete(self, call: Call[None, None]) -> None:
        await self._subscriptions.delete(call.principal, subscription_id(call))

    async def _pause(self, call: Call[None, None]) -> SubscriptionOut:
        paused = await self._subscriptions.pause(call.principal, subscription_id(call))
        return self._shape(paused, call)

    async def _resume(self, call: Call[None, None]) -> SubscriptionOut:
        resumed = await self._subscriptions.resume(call.principal, subscription_id(call))
        return self._shape(resumed, call)

    async def _unsuspend(self, call: Call[None, None]) -> SubscriptionOut:
        goes_on = await self._subscriptions.unsuspend(call.principal, subscription_id(call))
        return self._shape(goes_on, call)

    def _shape(self, subscription: Subscription, call: Call[Any, Any]) -> SubscriptionOut:
        defaults = self._subscriptions.defaults(subscription.project_id)
        return shape(subscription, call.principal, defaults)

    async def _verify(self, call: Call[None, None]) -> SubscriptionOut:
        asked = await self._subscriptions.verify(call.principal, subscription_id(call))
        return self._shape(asked, call)

    async def _secret(self, call: Call[None, None]) -> SecretOut:
        return SecretOut(await self._keys.secret(call.principal, subscription_id(call)))

    async def _rotate(self, call: Call[None, None]) -> None:
        await self._keys.rotate(call.principal, subscription_id(call))


def subscription_id(call: Call[Any, Any]) -> ids.Id:
    """Return the id of the subscription that a request's path names.

    Raises:
        NotFound: it is not a well-formed token.
    """
    return ids.read(ids.SUBSCRIPTION, call.path["event_subscription_token"])


def shape(
    subscription: Subscription, principal: Principal, defaults: Inheritable = NOTHING_SET
) -> SubscriptionOut:
    """Return a subscription as `principal` may see it; `defaults` are its project's."""
    terms = terms_of(subscription, defaults)
    headers, suspension = subscription.headers, subscription.suspension
    transform = subscription.transform
    masked = Scope.SUBSCRIPTIONS_WRITE not in principal.scopes
    if masked:
        headers = dict.fromkeys(headers, MASKED)
        transform = None if transform is None else _masked(transform)
    failing_since_us, changed_us = subscription.failing_since_us, subscription.changed_us
    content, asked = subscription.filter, subscription.verification
    proof = subscription.authentication
    return SubscriptionOut(
        token=ids.spell(ids.SUBSCRIPTION, subscription.id),
        created=moment(ids.moment(subscription.id)),
        updated=moment(changed_us or ids.moment(subscription.id)),
        api=subscription.api,
        name=subscription.name,
        description=subscription.description,
        url=subscription.url,
        disabled=subscription.disabled_by is not None,
        disabled_reason=subscription.disabled_by and subscription.disabled_by.value,
        paused=subscription.paused,
        suspended=subscription.suspension is not None,
        suspension=None if suspension is None else suspension_out(suspension),
        event_types=subscription.event_types,
        owner=subscription.owner,
        headers=headers,
        insecure_tls=subscription.insecure_tls,
        format=subscription.format,
        signing=subscription.signing.value,
        timeout_s=terms.timeout_s,
        concurrency=terms.concurrency,
        retry_schedule=schedule_name(terms.retry_schedule_s) or terms.retry_schedule_s,
        rate_limit=terms.rate_limit,
        breaker=terms.breaker,
        sending_hours=terms.sending_hours,
        priority=terms.priority,
        deliver_before_s=terms.deliver_before_s,
        failure_handling=handling_out(terms.failure_handling, masked=masked),
        inherited=tuple(_SPELLED.get(name, name) for name in inherited(subscription)),
        filter=_NO_FILTER if content is None else msgspec.Raw(content.encode()),
        transform=None if transform is None else transforms.shown(transform),
        verification=VerificationMode.NONE if asked is None else asked.mode,
        verification_status=None if asked is None else _status(asked),
        authentication=None if proof is None else proof.shown,
        ordering=terms.ordering.value,
        on_order_failure=terms.on_order_failure.value,
        failing_since=None if failing_since_us is None else moment(failing_since_us),
    )


def _status(known: Verification) -> VerificationOut:
    since = None if known.at_us is None else moment(known.at_us)
    return VerificationOut(known.state, since, known.reason, known.per_minute)


def _masked(transform: Transform) -> Transform:
    masked = {Language.JAVASCRIPT: MASKED, Language.TEMPLATE: f'"{MASKED}"'}
    return Transform(transform.language, masked[transform.language])
