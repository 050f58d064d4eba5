"""What another API's way of posting an event costs, beside the native one.

Closed loops of the same payloads, the APIs in turn within each round.
"""

import msgspec

from bench import rows
from bench.apis import APIS, NATIVE
from bench.bars import API_RATIO
from bench.report import Figure, Report, Section
from bench.rounds import Round, run_round
from bench.scenarios import Settings, enter_round, prefixed


def surfaces(settings: Settings, report: Report) -> None:
    """Measure every API, for each product."""
    for program in settings.products:
        rounds: dict[str, list[Round]] = {api: [] for api in APIS}
        for number in range(1, settings.rounds + 1):
            for api, done in rounds.items():
                name = f"{program.name}, {api}"
                say = prefixed(settings.say, f"round {number}/{settings.rounds}, {name}: ")
                load = msgspec.structs.replace(settings.load(), api=api)
                measured = run_round(program, load, parent=settings.parent, say=say)
                enter_round(report, "apis", measured)
                done.append(measured)
        report.sections.append(section(program.name, settings, rounds))


def section(name: str, settings: Settings, rounds: rows.Rounds) -> Section:
    """The table of one product: each API with its ratio to the native one."""
    delivered = rows.delivered(rounds)
    speeds = {api: value or float("nan") for api, value in delivered.values.items()}
    ratio = {api: speed / speeds[NATIVE] for api, speed in speeds.items() if api != NATIVE}
    return Section(
        f"Posts by each API, {name}: medians of {settings.rounds} rounds of {settings.seconds:g} s",
        list(rounds),
        [
            delivered,
            Figure("ratio to the native API", "", ratio, dict.fromkeys(ratio, API_RATIO)),
            *rows.latencies(rounds),
            *rows.cpu(rounds),
        ],
    )
