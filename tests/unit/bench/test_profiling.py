from bench.profiling import per_event


def test_a_profile_is_scaled_to_microseconds_per_event_and_sorted() -> None:
    figures: dict[str, object] = {
        "wall_ns": 1_000_000,
        "samples": 4,
        "layers": {"web": 100_000, "storage": 300_000},
        "functions": [["waypost.web.protocol.f", 100_000]],
        "threads": {"MainThread": 250_000},
    }

    found = per_event(figures, events=10)

    assert list(found.layers_us.items()) == [("storage", 30), ("web", 10)]
    assert found.functions_us == {"waypost.web.protocol.f": 10}
    assert found.thread_load == {"MainThread": 0.25}
    assert found.samples == 4
