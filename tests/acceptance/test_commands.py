"""Commands beside a running server."""

import json
import re
from pathlib import Path

from tests.support.program import call, server, waypost
from tests.support.receiver import receiver
from waypost.policy import signing
from waypost.storage.migrations import HEAD

EVENT = {"event_type": "card.created", "payload": {"n": 1}}


def test_a_key_works_and_stops_working_at_once(tmp_path: Path) -> None:
    with server(tmp_path) as (_, url):
        made = waypost(tmp_path, "keys", "create", "--name", "billing")
        assert made.status == 0, made.err
        key = made.out.strip()
        assert call(url, "/v1/events", EVENT, key=key)[0] == 202
        listed = waypost(tmp_path, "keys", "list")
        (token,) = re.findall(r"key_\S+", listed.out)
        assert waypost(tmp_path, "keys", "revoke", token).status == 0
        assert call(url, "/v1/events", EVENT, key=key)[0] == 401


def test_a_catalogue_that_is_loaded_holds_at_once(tmp_path: Path) -> None:
    (tmp_path / "types.json").write_text(json.dumps({"event_types": [{"name": "card.closed"}]}))
    with server(tmp_path) as (_, url):
        project = waypost(tmp_path, "projects", "create", "--name", "acme", "--strict-types")
        options = ("--project", project.out.strip())
        key = waypost(tmp_path, "keys", "create", "--name", "a", *options).out.strip()
        assert waypost(tmp_path, "event-types", "load", "types.json", *options).status == 0
        status, refusal = call(url, "/v1/events", EVENT, key=key)
        assert status == 400
        assert refusal["errors"][0]["path"] == "event_type"
        assert call(url, "/v1/events", EVENT | {"event_type": "card.closed"}, key=key)[0] == 202


def test_a_backup_of_a_running_server_is_a_server_s_whole_past(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    with receiver() as received:
        with server(home) as (_, url):
            _, made = call(url, "/v1/event_subscriptions", {"url": received.url})
            path = f"/v1/event_subscriptions/{made['token']}/secret"
            secret = call(url, path)[1]["secret"]
            _, event = call(url, "/v1/events", EVENT)
            received.wait_for(1)
            done = waypost(home, "backup", str(tmp_path / "copy.db"))
            assert done.status == 0, done.err
            refused = waypost(home, "restore", str(tmp_path / "copy.db"), "--force")
            assert refused.status == 1
            assert "in use by process" in refused.err
        restored = waypost(other, "restore", str(tmp_path / "copy.db"))
        assert restored.status == 0, restored.err
        with server(other) as (_, url):
            assert call(url, f"/v1/events/{event['token']}")[1]["payload"] == EVENT["payload"]
            assert call(url, path)[1]["secret"] == secret, "the secret key came with it"
            call(url, "/v1/events", EVENT)
            request = received.wait_for(2)[-1]
    headers = request.headers
    signing.verify(
        [secret],
        headers["webhook-id"].encode(),
        headers["webhook-timestamp"].encode(),
        headers["webhook-signature"].encode(),
        request.body,
        now_s=int(headers["webhook-timestamp"]),
    )


def test_doctor_and_config_leave_a_running_server_alone(tmp_path: Path) -> None:
    with server(tmp_path) as (program, url):
        done = waypost(tmp_path, "doctor")
        assert done.status == 0, done.out
        assert f"schema {HEAD}" in done.out
        assert waypost(tmp_path, "config").status == 0
        assert call(url, "/readyz")[0] == 200
        assert program.stop() == 0


def test_a_migration_is_refused_under_a_running_server(tmp_path: Path) -> None:
    with server(tmp_path) as (program, _):
        done = waypost(tmp_path, "migrate")
        assert done.status == 1
        assert f"in use by process {program.pid}" in done.err


def test_no_secret_is_in_the_log_or_in_the_open_in_the_database(tmp_path: Path) -> None:
    with receiver() as received:
        with server(tmp_path, WAYPOST_LOG_LEVEL="debug") as (program, url):
            key = waypost(tmp_path, "keys", "create", "--name", "a").out.strip()
            wrong = {"url": received.url.replace("//", "//user:canary@")}
            assert call(url, "/v1/event_subscriptions", wrong, key=key)[0] == 400
            _, made = call(url, "/v1/event_subscriptions", {"url": received.url}, key=key)
            path = f"/v1/event_subscriptions/{made['token']}/secret"
            secret = call(url, path, key=key)[1]["secret"]
            call(url, "/v1/events", EVENT | {"payload": "payload-canary"}, key=key)
            received.wait_for(1)
            assert program.stop() == 0
        log = "\n".join(program.lines)
        for canary in (key, secret, secret.removeprefix("whsec_"), "payload-canary", "canary@"):
            assert canary not in log
        kept = b"".join(file.read_bytes() for file in (tmp_path / ".waypost").glob("waypost.db*"))
        _, material = signing.read_secret(secret)
        for hidden in (key.encode(), secret.encode(), material):
            assert hidden not in kept
