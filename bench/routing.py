"""What routing costs: filters of many conditions, and projects of many subscriptions.

In this process, without a server: the event is routed as ingest does it, again and again. What is
counted is the time of the processor, which a busy machine stretches less than that of the clock.
"""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from bench.bars import Bar
from bench.figures import middle
from bench.report import Figure, Report, Section
from bench.rounds import Say
from waypost.model.event import NO_ATTRIBUTES
from waypost.model.subscription import Subscription
from waypost.policy.content import Content
from waypost.policy.filters import compiled
from waypost.policy.routing import Routes

CONDITIONS: Final = 50
SUBSCRIPTIONS: Final = 10_000
CONDITIONS_US: Final = Bar(50)
ROUTE_US: Final = Bar(1_000)

_PROGRAM: Final = "waypost"
_PROJECT: Final = b"p" * 16
_encode = msgspec.json.Encoder().encode


def routing(report: Report, rounds: int, say: Say) -> None:
    """Measure all of it; each figure is the median of the rounds."""
    report.ledger = False
    figures = []
    for name, bar, measure in MEASURES:
        say(name)
        values = [measure() for _ in range(max(rounds, 1))]
        report.details.setdefault("routing", {})[name] = values
        bars = {} if bar is None else {_PROGRAM: bar}
        figures.append(Figure(name, "µs", {_PROGRAM: middle(values)}, bars))
    report.sections.append(Section("Routing one event, CPU", [_PROGRAM], figures))


def many_conditions() -> float:
    """One filter of operators of all kinds, all of which hold; the payload is parsed too."""
    kinds = [
        ({"$gt": 1}, 2),
        ({"$in": ["a", "b", 3]}, 3),
        ({"$regex": "^[a-z]+-[0-9]+$"}, "order-17"),
        ({"$neq": 7}, 8),
        ("value", "value"),
        ({"$exist": True}, None),
        ({"$lte": "m"}, "k"),
    ]
    return _matched([kinds[n % len(kinds)] for n in range(CONDITIONS)])


def many_patterns() -> float:
    """One filter of nothing but regular expressions."""
    return _matched([({"$regex": f"^[a-z]+-{n}$"}, f"order-{n}") for n in range(CONDITIONS)])


def own_types() -> float:
    """Each subscription has a type of its own, and ten take the event."""
    found = [_subscription(n, event_types=(f"type.n{n // 10}",)) for n in range(SUBSCRIPTIONS)]
    return _routed(found, "type.n500", {"a": 1}, 10)


def own_customers() -> float:
    """All take the type, and each wants the events of one customer of its own."""
    found = [
        _subscription(n, filter=_text({"customer.id": f"c_{n}", "total": {"$gt": 0}}))
        for n in range(SUBSCRIPTIONS)
    ]
    return _routed(found, "order.paid", {"customer": {"id": "c_77"}, "total": 5}, 1)


def own_thresholds() -> float:
    """All take the type, and each has a condition that no index can go by."""
    found = [
        _subscription(n, filter=_text({"total": {"$gt": n + 0.5}})) for n in range(SUBSCRIPTIONS)
    ]
    return _routed(found, "order.paid", {"total": 10}, 10)


def compiling() -> float:
    """Compile one filter of many conditions."""
    text = _text({f"f{n}.x": {"$gt": n} for n in range(CONDITIONS)})
    return _per_call_us(lambda: compiled(text))


MEASURES: Final[list[tuple[str, Bar | None, Callable[[], float]]]] = [
    ("50 conditions of all kinds", CONDITIONS_US, many_conditions),
    ("50 regular expressions", CONDITIONS_US, many_patterns),
    ("10,000, each its type", ROUTE_US, own_types),
    ("10,000, each its customer", ROUTE_US, own_customers),
    ("10,000, each its threshold", None, own_thresholds),
    ("compiling 50 conditions", None, compiling),
]


def _matched(conditions: list[tuple[object, object]]) -> float:
    made = compiled(_text({f"f{n}.x": condition for n, (condition, _) in enumerate(conditions)}))
    payload = _encode({f"f{n}": {"x": value} for n, (_, value) in enumerate(conditions)})
    assert made.matches(Content(payload, NO_ATTRIBUTES))  # noqa: S101 - else it measures little
    return _per_call_us(lambda: made.matches(Content(payload, NO_ATTRIBUTES)))


def _routed(found: list[Subscription], kind: str, body: object, matches: int) -> float:
    routes = Routes(1)
    for one in found:
        routes.put(one)
    payload = _encode(body)
    assert len(routes.match(kind, None, payload)) == matches  # noqa: S101 - as above
    return _per_call_us(lambda: routes.match(kind, None, payload))


def _per_call_us(call: Callable[[], object], seconds: float = 0.3) -> float:
    """Return the CPU of a call in µs: the median of ten runs, in about `seconds`."""
    start = time.thread_time()
    call()
    count = max(int(seconds / 10 / max(time.thread_time() - start, 1e-7)), 1)
    runs = []
    for _ in range(10):
        start = time.thread_time()
        for _ in range(count):
            call()
        runs.append((time.thread_time() - start) / count * 1e6)
    return middle(runs)


def _subscription(number: int, **settings: object) -> Subscription:
    made = Subscription(_PROJECT, number.to_bytes(16), "https://receiver.example/")
    return msgspec.structs.replace(made, **settings)


def _text(body: object) -> str:
    return _encode({"body": body}).decode()
