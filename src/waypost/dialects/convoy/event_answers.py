"""What Convoy's API answers with of events and their deliveries: fields alone."""

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from waypost.dialects.convoy.answers import EndpointOut, Json, Moment, SourceOut

Headers = dict[str, list[str]]


class EventOut(TypedDict):
    """An event."""

    uid: str
    event_type: str
    source_id: str
    app_id: str
    project_id: str
    endpoints: list[str]
    headers: Headers
    endpoint_metadata: list[EndpointOut]
    source_metadata: SourceOut | None
    url_query_params: str
    url_path: str
    idempotency_key: str
    is_duplicate_event: bool
    data: Json
    raw: str
    metadata: str
    status: Literal["Success", "Failure"]
    failure_reason: str
    acknowledged_at: Moment | None
    created_at: Moment
    updated_at: Moment
    deleted_at: None


class EventBrief(TypedDict):
    """What is told of an event beside a delivery of it."""

    uid: str
    event_type: str


class MetadataOut(TypedDict):
    """What is sent, and when next."""

    data: Json
    raw: str
    strategy: Literal["linear", "exponential"]
    next_send_time: Moment | None
    num_trials: int
    interval_seconds: int
    retry_limit: int
    max_retry_seconds: int


DeliveryStatus = Annotated[
    str,
    Meta(
        extra_json_schema={
            "enum": ["Scheduled", "Processing", "Retry", "Success", "Failure", "Discarded"]
        }
    ),
]


class DeliveryOut(TypedDict):
    """A delivery."""

    uid: str
    project_id: str
    event_id: str
    endpoint_id: str
    device_id: str
    subscription_id: str
    headers: Headers
    target_url: str
    url_query_params: str
    idempotency_key: str
    latency: str
    latency_seconds: float
    event_type: str
    delivery_mode: Literal["at_least_once", "at_most_once"]
    endpoint_metadata: EndpointOut | None
    event_metadata: EventBrief | None
    source_metadata: SourceOut | None
    device_metadata: None
    status: DeliveryStatus
    metadata: MetadataOut
    cli_metadata: None
    description: str
    acknowledged_at: Moment
    created_at: Moment
    updated_at: Moment | None
    deleted_at: None


class AttemptOut(TypedDict):
    """An attempt; `status` is there only where it succeeded."""

    uid: str
    msg_id: str
    project_id: str
    endpoint_id: str
    url: str
    method: Literal["POST"]
    api_version: str
    request_http_header: dict[str, str]
    response_http_header: dict[str, str]
    http_status: str
    response_data: str
    error: str
    requested_at: Moment | None
    responded_at: Moment | None
    created_at: Moment | None
    updated_at: Moment | None
    deleted_at: None
    status: NotRequired[bool]


class MetaAttemptOut(TypedDict):
    """The last attempt of a meta event."""

    request_http_header: dict[str, str]
    response_http_header: dict[str, str]
    response_data: str


class MetaEventOut(TypedDict):
    """A meta event, with its latest delivery."""

    uid: str
    project_id: str
    event_type: str
    status: DeliveryStatus
    metadata: MetadataOut
    attempt: MetaAttemptOut | None
    created_at: Moment
    updated_at: Moment | None
    deleted_at: None
