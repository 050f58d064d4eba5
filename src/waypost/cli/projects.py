"""`waypost projects`: the tenants of this installation."""

from typing import Annotated, Final

import typer

from waypost.cli.administration import administer
from waypost.cli.options import with_settings
from waypost.cli.tables import show_table
from waypost.config import Settings
from waypost.model.project import Environment

app = typer.Typer(
    no_args_is_help=True,
    help="Create, list, change and delete projects: each is one tenant in one environment.",
)

PROJECTS: Final = "/v1/projects"
COLUMNS: Final = ("token", "name", "environment", "strict_types", "account", "created")

Token = Annotated[str, typer.Argument(help="The project's token: prj_…", metavar="PRJ")]


@app.command()
@with_settings("database_url", "secret_key")
def create(
    *,
    settings: Settings,
    name: Annotated[str, typer.Option("--name", help="What it is called.")],
    environment: Annotated[
        Environment, typer.Option("--environment", help="What it is for.")
    ] = Environment.TEST,
    strict_types: Annotated[
        bool, typer.Option("--strict-types", help="Refuse event types outside its catalogue.")
    ] = False,
) -> None:
    """Make a project. Keys, events and subscriptions of one are never seen by another.

    **Example:** `waypost projects create --name acme --environment production`
    """
    body = {"name": name, "environment": environment, "strict_types": strict_types}
    made = administer(settings.config, lambda client: client.send("POST", PROJECTS, body))
    typer.echo(made["token"])


@app.command("list")
@with_settings("database_url", "secret_key")
def list_projects(*, settings: Settings) -> None:
    """List all projects."""
    show_table(administer(settings.config, lambda client: list(client.list(PROJECTS))), COLUMNS)


@app.command()
@with_settings("database_url", "secret_key")
def update(
    token: Token,
    *,
    settings: Settings,
    name: Annotated[str | None, typer.Option("--name", help="A new name.")] = None,
    strict_types: Annotated[
        bool | None,
        typer.Option(
            "--strict-types/--open-types", help="Whether types outside its catalogue are refused."
        ),
    ] = None,
) -> None:
    """Change a project's name, or whether it takes any event type."""
    wanted = {"name": name, "strict_types": strict_types}
    body = {field: value for field, value in wanted.items() if value is not None}
    path = f"{PROJECTS}/{token}"
    show_table(
        [administer(settings.config, lambda client: client.send("PATCH", path, body))], COLUMNS
    )


@app.command()
@with_settings("database_url", "secret_key")
def delete(token: Token, *, settings: Settings) -> None:
    """Delete a project that has no subscriptions, and revoke its keys."""
    administer(settings.config, lambda client: client.send("DELETE", f"{PROJECTS}/{token}"))
    typer.echo(f"{token} is deleted.")
