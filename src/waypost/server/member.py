"""A process of a group: `python -m waypost.server.member FD`, started by the supervisor alone."""

import asyncio
import sys
from contextlib import closing

import uvloop

from waypost import telemetry
from waypost.model.errors import ConfigInvalid, WaypostError
from waypost.server import program
from waypost.server.handover import Line
from waypost.server.supervisor import REFUSED


def main() -> int:
    """Take the orders by the line that the supervisor has left open, and serve."""
    with closing(Line(int(sys.argv[1]))) as line:
        return _obey(line)


def _obey(line: Line) -> int:
    try:
        orders = line.orders()
    except EOFError:
        return 0
    config = orders.config
    telemetry.configure_log(config.log_format, config.log_level, process=orders.number)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(program.serve_in_group(orders, line))
    except (WaypostError, OSError) as error:
        sys.stderr.write(f"waypost: {error}\n")
        return REFUSED if isinstance(error, ConfigInvalid) else 1


if __name__ == "__main__":
    sys.exit(main())
