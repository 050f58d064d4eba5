"""The router: every project's subscriptions, each at the version that they stand for."""

from msgspec.structs import replace

from waypost.engine.router import Router
from waypost.model.flow import LaneState
from waypost.model.subscription import NOTHING_SET, DisabledBy, Inheritable, Ordering, Subscription

ONE, TWO = b"1" * 16, b"2" * 16
A = Subscription(ONE, b"a" * 16, "https://a.example/")
B = Subscription(TWO, b"b" * 16, "https://b.example/")


def loaded() -> Router:
    router = Router()
    router.load({ONE: 5, TWO: 7}, [A, B])
    return router


def test_projects_are_apart() -> None:
    router = loaded()
    assert router.routes(ONE).match("x", None) == (A,)
    assert router.routes(TWO).match("x", None) == (B,)
    assert router.find(ONE, A.id) is A
    assert router.find(TWO, A.id) is None
    assert (router.routes(ONE).version, router.routes(TWO).version) == (5, 7)


def test_a_new_project_has_no_routes_at_the_first_version() -> None:
    routes = Router().routes(ONE)
    assert (routes.version, routes.match("x", None)) == (1, ())


def test_a_change_brings_its_version() -> None:
    router = loaded()
    router.apply(6, replace(A, disabled_by=DisabledBy.PERSON))
    assert (router.routes(ONE).version, router.routes(ONE).match("x", None)) == (6, ())
    router.remove(7, ONE, A.id)
    assert (router.routes(ONE).version, router.find(ONE, A.id)) == (7, None)


def test_what_changes_nobody_s_routing_keeps_the_version() -> None:
    router = loaded()
    failing = replace(A, failing_since_us=3)
    router.refresh(failing)
    assert router.routes(ONE).version == 5
    assert router.find(ONE, A.id) is failing


def test_how_subscriptions_fare_is_taken_for_all_of_them() -> None:
    router = loaded()
    router.refresh(replace(A, failing_since_us=3))
    state = LaneState(openings=3)
    router.fare({B.id: 7}, {B.id: state})
    assert router.lane_states == {B.id: state}
    assert {one.id: one.failing_since_us for one in router.list_all()} == {A.id: None, B.id: 7}
    assert router.routes(ONE).version == 5


async def test_filters_are_compiled_ahead_for_every_project() -> None:
    router = Router()
    many = [
        Subscription(
            project, bytes([n]) * 16, "https://a.example/", filter=f'{{"body":{{"n":{n}}}}}'
        )
        for project in (ONE, TWO)
        for n in range(30)
    ]
    router.load({ONE: 1, TWO: 1}, many)
    steps = 0
    while await router.run_once():
        steps += 1
    assert steps == 4
    for project in (ONE, TWO):
        assert router.routes(project).compile_some(1) == 0
        assert router.routes(project).match("x", None, b'{"n":7}')[0].id == b"\7" * 16
    assert not await router.run_once()


def test_a_projects_defaults_are_its_own() -> None:
    router = loaded()
    late = Inheritable(timeout_s=9.0)
    assert router.defaults(ONE) == NOTHING_SET
    assert not router.set_defaults(ONE, NOTHING_SET, 9)
    assert router.set_defaults(ONE, late, 9)
    assert not router.set_defaults(ONE, late, 9)
    assert (router.defaults(ONE), router.defaults(TWO)) == (late, NOTHING_SET)
    assert router.set_defaults(ONE, NOTHING_SET, 9)
    assert router.defaults(ONE) == NOTHING_SET
    assert router.routes(ONE).version == 5, "they route nothing"


def test_an_order_by_default_is_a_change_of_the_routing() -> None:
    router = loaded()
    own = replace(A, id=b"o" * 16, ordering=Ordering.KEY)
    router.apply(6, own)
    assert router.set_defaults(ONE, Inheritable(ordering=Ordering.STRICT), 7)
    assert (router.routes(ONE).version, router.routes(ONE).strict) == (7, True)
    assert not router.unparks(A), "nothing was parked before"
    assert router.set_defaults(ONE, Inheritable(ordering=Ordering.KEY), 8)
    assert (router.routes(ONE).version, router.routes(ONE).strict) == (8, False)
    assert [router.unparks(one) for one in (A, own, B)] == [True, False, False]
    router.load({ONE: 9}, [A])
    assert not router.routes(ONE).strict
    router.set_defaults(ONE, Inheritable(ordering=Ordering.STRICT), 10)
    router.load({ONE: 10}, [A])
    assert router.routes(ONE).strict, "what is loaded goes by the defaults that are known"
    router.remove(11, ONE, A.id)
    assert not router.routes(ONE).strict, "nobody is left who goes by them"
