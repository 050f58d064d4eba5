"""Every setting, in one table: the fields of `Config`.

A setting named `max_event_bytes` is `WAYPOST_MAX_EVENT_BYTES` in the environment,
`max_event_bytes` in a TOML file and `--max-event-bytes` on the command line. A flag goes before
the environment, the environment before the file, and the file before the default; what is not
given at one place says nothing there, and an empty value is a value. This package alone reads the
environment.
"""

from waypost.config.sources import Given, Settings, load
from waypost.config.table import PREFIX, SETTINGS, Config, Role, Setting
from waypost.config.values import Listen

__all__ = ["PREFIX", "SETTINGS", "Config", "Given", "Listen", "Role", "Setting", "Settings", "load"]
