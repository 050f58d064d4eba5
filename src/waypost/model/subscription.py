"""Subscriptions: who wants to hear of which events, where, and how."""

from enum import StrEnum
from typing import Any, Final

import msgspec

from waypost.model.api import Api
from waypost.model.authentication import Sealed
from waypost.model.failure import FailureHandling, Suspension
from waypost.model.flow import FlowControl
from waypost.model.ids import Id
from waypost.model.transform import Transform
from waypost.model.verification import Verification, VerificationMode, VerificationState


class DisabledBy(StrEnum):
    """Why a subscription is disabled: it decides what happens to what is owed."""

    PERSON = "person"
    GONE = "gone"
    FAILING = "failing"


class Signing(StrEnum):
    """The signature scheme of Standard Webhooks that a subscription asks for."""

    HMAC = "v1"
    ED25519 = "v1a"


class Ordering(StrEnum):
    """In which order a subscription's events are sent."""

    NONE = "none"
    """As they come."""

    KEY = "key"
    """Those of one ordering key one at a time, as they were accepted; all others as they come."""

    STRICT = "strict"
    """All of them one at a time, as they were accepted."""


class OnOrderFailure(StrEnum):
    """What becomes of the events behind one that was given up, where there is an order."""

    CONTINUE = "continue"
    BLOCK = "block"
    """They wait until a person releases them."""


class End(StrEnum):
    """How a try ended, for whoever is told of each."""

    DELIVERED = "delivered"
    RETRIED = "retried"
    """It failed, and is to be tried again."""

    FAILED = "failed"


class Notices(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who is told of a subscription, beside those who subscribe to system events.

    They are hidden subscriptions in the hidden project of its project.

    Attributes:
        about: what they are told it is.
        watchers: are told when it stops, fails for long, and is sent to again.
        email: an address that is told the same by e-mail.
        reporter: is told of each try that ended in one of `reports`, as an event of this type.
    """

    about: str = ""
    watchers: tuple[Id, ...] = ()
    email: str = ""
    reporter: Id | None = None
    reports: dict[End, str] = {}


NO_NOTICES: Final = Notices()

DEFAULT_CONCURRENCY: Final = 64
DEFAULT_TIMEOUT_S: Final = 20.0


class Inheritable(FlowControl, msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Settings of a subscription for which its project may have defaults.

    None: not set here. A subscription then goes by its project's default, and where that is not set
    either by what is built in: `waypost.policy.terms` says which.

    Attributes:
        timeout_s: total deadline of one attempt, seconds.
        concurrency: how many attempts may be in flight at once.
        retry_schedule_s: seconds between an attempt and the next.
        failure_handling: what is done about failures, as a whole.
        ordering: in which order events are sent.
        on_order_failure: what becomes of those behind one that was given up.
        verify: how a URL is verified before anything is sent there; asked when one is set.
    """

    timeout_s: float | None = None
    concurrency: int | None = None
    retry_schedule_s: tuple[float, ...] | None = None
    failure_handling: FailureHandling | None = None
    ordering: Ordering | None = None
    on_order_failure: OnOrderFailure | None = None
    verify: VerificationMode | None = None


NOTHING_SET: Final = Inheritable()


class Subscription(Inheritable, frozen=True):
    """One receiver of a project's events.

    Attributes:
        event_types: exact names, or prefixes as `card.*`; None for all types.
        disabled_by: set while it is disabled.
        suspension: set while its own failure handling has suspended it.
        paused: what it is owed waits until it is resumed.
        owner: where set, only this owner's events are matched.
        filter: JSON of a condition on the content of its events; None for all.
        transform: what is made of an event before it is sent.
        verification: how far that of its URL is; None where it needs none.
        unparking: its order was changed, and some of what it is owed may be parked by the old one.
        format_settings: what its format goes by, in the format's own words; None: by nothing.
        endpoint_id: the address that it shares with other subscriptions, where a surface has such.
        authentication: how deliveries prove who sends them; None: by their signature alone.
        failing_since_us: when the present series of nothing but failures began, UTC microseconds.
        insecure_tls: any certificate of the receiver will do.
        api: in which API it was made: a dialect lists its own only.
        particulars: what that API keeps with it; nothing else reads it.
        notices: who is told of it.
        name: for people.
        changed_us: when somebody last changed it, UTC microseconds; None where nobody has.
    """

    project_id: Id
    id: Id
    url: str
    description: str = ""
    event_types: tuple[str, ...] | None = None
    disabled_by: DisabledBy | None = None
    paused: bool = False
    headers: dict[str, str] = {}
    format: str = "payload"
    signing: Signing = Signing.HMAC
    owner: str | None = None
    transform: Transform | None = None
    failing_since_us: int | None = None
    filter: str | None = None
    suspension: Suspension | None = None
    verification: Verification | None = None
    format_settings: str | None = None
    endpoint_id: Id | None = None
    insecure_tls: bool = False
    api: Api = Api.NATIVE
    particulars: dict[str, Any] = {}
    unparking: bool = False
    authentication: Sealed | None = None
    notices: Notices = NO_NOTICES
    name: str = ""
    changed_us: int | None = None

    @property
    def is_verified(self) -> bool:
        """Whether anything may be sent to its URL."""
        known = self.verification
        return known is None or known.state is VerificationState.VERIFIED


class SigningKey(msgspec.Struct, frozen=True):
    """A secret of a subscription, decrypted. `expires_at_us` None: the present one."""

    id: Id
    scheme: Signing
    material: bytes
    expires_at_us: int | None = None
