"""Each module has its test, found by its name; and each unit test has its module."""

from pathlib import Path

from tests.conventions import tree

UNIT = tree.ROOT / "tests" / "unit"
CONTRACT = tree.ROOT / "tests" / "contract"

# Packages beside the product: where their folder stands.
BESIDE = {"bench": tree.ROOT, "torture": tree.ROOT / "tests"}

_CONVOY = "tests/acceptance/clients/test_convoy.py"
_META = "tests/acceptance/clients/test_convoy_meta.py"

# module -> the test that covers it instead, and why it has none of its own.
COVERED_BY: dict[str, tuple[str, str]] = {
    "__main__.py": ("tests/acceptance/test_wheel.py", "one call, tried as it is installed"),
    "dialects/socotra/reading.py": (
        "tests/acceptance/clients/test_socotra.py",
        "asks and answers, over HTTP alone",
    ),
    "dialects/socotra/routes.py": (
        "tests/acceptance/clients/test_socotra_requests.py",
        "lets in and refuses, over HTTP alone",
    ),
    "dialects/socotra/shapes.py": (
        "tests/unit/dialects/socotra/test_webhooks.py",
        "fields alone, which are translated",
    ),
    "dialects/socotra/tokens.py": (
        "tests/acceptance/clients/test_socotra_requests.py",
        "one route, over HTTP alone",
    ),
    "dialects/socotra/webhook_routes.py": (
        "tests/acceptance/clients/test_socotra_requests.py",
        "asks and answers, over HTTP alone",
    ),
    "model/api.py": ("tests/unit/policy/test_credentials.py", "names alone"),
    "cli/findings.py": ("tests/unit/cli/test_doctor.py", "fields alone, which doctor fills"),
    "dialects/convoy/ingest.py": ("tests/acceptance/clients/test_sources.py", "handlers of HTTP"),
    "dialects/convoy/proofs.py": (
        "tests/acceptance/clients/test_convoy_sources.py",
        "one handler of HTTP",
    ),
    "dialects/convoy/sources.py": (
        "tests/acceptance/clients/test_convoy_sources.py",
        "handlers of HTTP",
    ),
    "model/authentication.py": (
        "tests/unit/policy/test_authentication.py",
        "fields alone, which are checked",
    ),
    "dialects/convoy/deliveries.py": (_CONVOY, "a translation, tried over HTTP"),
    "dialects/convoy/dynamic.py": (_CONVOY, "a translation, tried over HTTP"),
    "dialects/convoy/endpoints.py": (_CONVOY, "a translation, tried over HTTP"),
    "dialects/convoy/events.py": (_CONVOY, "a translation, tried over HTTP"),
    "dialects/convoy/filters.py": (_CONVOY, "a translation, tried over HTTP"),
    "dialects/convoy/intake.py": (_CONVOY, "a translation, tried over HTTP"),
    "dialects/convoy/meta_routes.py": (_META, "a translation, tried over HTTP"),
    "dialects/convoy/onboarding.py": (_CONVOY, "a translation, tried over HTTP"),
    "dialects/convoy/projects.py": (_CONVOY, "a translation, tried over HTTP"),
    "dialects/convoy/refusals.py": (_CONVOY, "two sentences, tried over HTTP"),
    "dialects/convoy/shapes.py": ("tests/unit/dialects/convoy/test_views.py", "one shape"),
    "dialects/convoy/shelf.py": (_CONVOY, "what the handlers share"),
    "dialects/convoy/subscriptions.py": (_CONVOY, "a translation, tried over HTTP"),
    "dialects/convoy/things.py": ("tests/unit/dialects/convoy/test_wishes.py", "fields alone"),
    "model/record.py": ("tests/contract/storage/test_records.py", "fields alone"),
    "dialects/stedi/routes.py": (
        "tests/acceptance/clients/test_stedi.py",
        "paths over operations: each is asked over HTTP",
    ),
    "model/event.py": ("tests/unit/policy/test_events.py", "fields alone, which parsing fills"),
    "model/exchange.py": ("tests/unit/policy/test_outcome.py", "fields alone, which are judged"),
    "model/failure.py": ("tests/unit/policy/test_failure_settings.py", "fields and their words"),
    "model/page.py": ("tests/unit/storage/test_pages.py", "fields alone, which reading fills"),
    "model/project.py": ("tests/unit/operations/test_access.py", "fields and sets of scopes"),
    "model/source.py": ("tests/unit/policy/test_source_settings.py", "fields and their defaults"),
    "model/transaction.py": (
        "tests/unit/policy/test_transactions.py",
        "fields and a table of steps",
    ),
    "model/subscription.py": ("tests/unit/policy/test_settings.py", "fields and their defaults"),
    "operations/changing.py": (
        "tests/unit/operations/test_subscriptions.py",
        "what changes are made of, and what they make",
    ),
    "sandbox/keeper.py": ("tests/integration/sandbox/test_pool.py", "processes, nothing else"),
    "sandbox/nursery.py": ("tests/integration/sandbox/test_pool.py", "a process, nothing else"),
    "sandbox/pool.py": ("tests/integration/sandbox/test_pool.py", "processes, nothing else"),
    "server/configs.py": ("tests/unit/server/test_wiring.py", "settings that reach their parts"),
    "storage/order_tables.py": (
        "tests/unit/storage/migrations/test_upgrade.py",
        "compared with what the migrations make",
    ),
    "storage/surfaces.py": (
        "tests/unit/storage/migrations/test_upgrade.py",
        "compared with what the migrations make",
    ),
    "storage/cluster.py": (
        "tests/unit/storage/migrations/test_upgrade.py",
        "compared with what the migrations make",
    ),
    "storage/request_index.py": (
        "tests/unit/storage/test_streams.py",
        "an index, by which events are found",
    ),
    "storage/indexing.py": (
        "tests/unit/storage/migrations/test_upgrade.py",
        "what it makes is compared with what the migrations make",
    ),
    "server/tools.py": ("tests/unit/server/test_wiring.py", "made there, and handed to each part"),
    "storage/schema.py": (
        "tests/unit/storage/migrations/test_upgrade.py",
        "compared with what the migrations make",
    ),
    "storage/migrations/env.py": (
        "tests/unit/storage/migrations/test_upgrade.py",
        "Alembic runs it, in every upgrade",
    ),
}


def needs_test() -> list[str]:
    """Return the modules with something in them; an `__init__` tells what its package is."""
    return [
        path.relative_to(tree.PACKAGE).as_posix()
        for path in tree.modules(tree.PACKAGE)
        if path.name != "__init__.py" and "versions" not in path.parts
    ]


def own_test(module: str) -> Path:
    """Return where the test of a module belongs: what every database must do is a contract."""
    path = Path(module)
    contract = CONTRACT / path.parent / f"test_{path.name}"
    return contract if contract.exists() else UNIT / path.parent / f"test_{path.name}"


def test_each_module_has_a_test() -> None:
    bare = [m for m in needs_test() if m not in COVERED_BY and not own_test(m).exists()]
    assert bare == []


def test_each_exception_is_needed_and_names_a_test() -> None:
    for module, (test, _reason) in COVERED_BY.items():
        assert module in needs_test(), module
        assert not own_test(module).exists(), f"{module} has its own test now"
        assert (tree.ROOT / test).is_file(), test


def test_each_unit_test_has_a_module() -> None:
    strays = []
    for test in UNIT.rglob("test_*.py"):
        subject = test.stem.removeprefix("test_")
        folder = test.relative_to(UNIT).parent
        folder = BESIDE.get(next(iter(folder.parts), ""), tree.PACKAGE) / folder
        # test_lane_fairness.py is about lane.py; test_init.py about the package itself.
        stems = {"init"} | {path.stem for path in folder.glob("*.py")}
        if not any(subject == stem or subject.startswith(f"{stem}_") for stem in stems):
            strays.append(tree.name(test))
    assert strays == []
