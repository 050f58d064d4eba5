"""`waypost keys`: who may call, and what they may do."""

from typing import Annotated, Any, Final

import typer
from rich.console import Console

from waypost.cli.administration import Client, administer
from waypost.cli.options import with_settings
from waypost.cli.tables import show_table
from waypost.config import Settings
from waypost.model.api import Api
from waypost.model.errors import NotFound
from waypost.model.project import PROJECT_SCOPES, Environment, Scope

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")

KEYS: Final = "/v1/api_keys"
PROJECTS: Final = "/v1/projects"


@app.command()
@with_settings("database_url", "secret_key")
def create(
    *,
    settings: Settings,
    name: Annotated[str, typer.Option("--name", help="What it is for.")],
    environment: Annotated[
        Environment | None,
        typer.Option("--environment", help="Its project: the oldest of this environment."),
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="Its project, by token.", metavar="PRJ")
    ] = None,
    scope: Annotated[
        list[Scope] | None,
        typer.Option("--scope", help="What it may do; may be given more than once."),
    ] = None,
    api: Annotated[
        Api, typer.Option("--api", help="Whose clients it is for: it is spelled as theirs are.")
    ] = Api.NATIVE,
    expires: Annotated[
        str | None, typer.Option("--expires", help="RFC 3339 time.", metavar="TIME")
    ] = None,
) -> None:
    """Make a key. It is printed once, alone on standard output, and can't be shown again.

    Without --environment and --project it is for the test environment; without --scope it may do
    everything in its project but administration. It works at once, also while the server runs.

    **Examples:**

    `KEY=$(waypost keys create --name billing)`

    `waypost keys create --name shop --environment production --scope events.write`

    `waypost keys create --name worker --api buildable`
    """
    if environment is None and project is None:
        environment = Environment.TEST
    body = {
        "name": name,
        "environment": environment,
        "project": project,
        "scopes": sorted(scope or PROJECT_SCOPES),
        "expires_at": expires,
        "api": api,
    }
    wanted = {field: value for field, value in body.items() if value is not None}
    made = administer(settings.config, lambda client: client.send("POST", KEYS, wanted))
    notes = Console(stderr=True, highlight=False, soft_wrap=True)
    notes.print(f"{made['token']} of {made['project']} ({made['environment']})")
    notes.print(f"may: {', '.join(made['scopes'])}; expires: {made['expires_at'] or 'never'}")
    if api is not Api.NATIVE:
        for field in ("base_url", "project_id", "tenant_locator", "account"):
            notes.print(f"{field}: {made[field]}")
    typer.echo(made["key"])


@app.command("list")
@with_settings("database_url", "secret_key")
def list_keys(*, settings: Settings) -> None:
    """List the keys of all projects, revoked and expired ones too, without their secrets."""

    def read(client: Client) -> list[dict[str, Any]]:
        projects = client.list(PROJECTS)
        return [key for one in projects for key in client.list(KEYS, project=one["token"])]

    show_table(
        administer(settings.config, read),
        ("token", "name", "api", "project", "scopes", "created", "expires_at", "revoked_at"),
    )


@app.command()
@with_settings("database_url", "secret_key")
def revoke(
    token: Annotated[str, typer.Argument(help="The key's token: key_…", metavar="KEY")],
    *,
    settings: Settings,
) -> None:
    """Revoke a key. No request with it is taken from then on.

    **Example:** `waypost keys revoke key_01a1fe12-72f3-7077-bbdd-a60bbb696518`
    """

    def remove(client: Client) -> None:
        for project in client.list(PROJECTS):
            for key in client.list(KEYS, project=project["token"]):
                if key["token"] == token:
                    client.send("DELETE", f"{KEYS}/{token}", project=project["token"])
                    return
        raise NotFound("API key")

    administer(settings.config, remove)
    typer.echo(f"{token} is revoked.")
