"""The high-water mark, and what the disk is."""

from pathlib import Path

from waypost.storage.sqlite import disk
from waypost.storage.sqlite.disk import HighWaterMark


def test_intake_stops_below_the_reserve_and_goes_on_well_above_it() -> None:
    mark = HighWaterMark(800)
    assert not mark.observe(800)
    assert mark.observe(799)
    assert mark.full
    assert not mark.observe(899)
    assert mark.full, "an eighth more must be free before it goes on"
    assert mark.observe(900)
    assert not mark.full


def test_without_a_reserve_it_never_stops() -> None:
    assert not HighWaterMark(0).observe(0)


def test_free_bytes_are_those_of_the_database_s_disk(tmp_path: Path) -> None:
    assert disk.free_bytes(tmp_path / "w.db") > 0


def test_the_innermost_mount_says_what_the_file_system_is(
    tmp_path: Path, monkeypatch: object
) -> None:
    kind = disk.file_system(tmp_path)
    assert kind is None or kind
    if Path("/proc/self/mounts").exists():
        assert disk.file_system(Path("/proc/self")) == "proc"
