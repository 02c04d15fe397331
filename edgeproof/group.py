"""Groups of commands: help without arguments, and groups that load a command to run it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from core.errors import InputError
from edgeproof.commands import COMMANDS, Listed

_COMPLETION = {"--install-completion", "--show-completion"}
_SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")


class HelpfulGroup(TyperGroup):
    """A group that, without arguments, prints its help on standard output with exit code 0."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return what is left of *args*; raise typer.Exit behind the help."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            raise typer.Exit
        return super().parse_args(ctx, args)


class ListedGroup(HelpfulGroup):
    """A group that lists its commands from a table, and loads the one that runs.

    Help, completion and suggestions ask for names and summaries only, which the table has.
    """

    listed: ClassVar[Mapping[str, Listed]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, listed in self.listed.items():
            # Never run: resolve_command puts the command itself in its place.
            self.add_command(TyperCommand(name=name, help=listed.summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the name, the loaded command and the rest of *args*; typer's error for none."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else self.load(name), rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write every command with its whole summary, by section."""
        sections = dict.fromkeys(listed.section for listed in self.listed.values())
        width = max(map(len, self.listed))
        for section in sections:
            rows = [
                (name.ljust(width), listed.summary)
                for name, listed in self.listed.items()
                if listed.section == section
            ]
            with formatter.section(section):
                formatter.write_dl(rows)

    @classmethod
    def load(cls, name: str) -> Any:
        """Return the command *name* of the table; KeyError if there is none."""
        return load_command(name, cls.listed[name])


class RootGroup(ListedGroup):
    """The group of all commands."""

    listed = COMMANDS

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return what is left of *args*; InputError for the completion of an unknown shell."""
        if _COMPLETION & {*args[:1]} and len(args) == 1 and not ctx.resilient_parsing:
            _check_shell(args[0])
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options of the root, which all are flags."""
        options = super().get_params(ctx)
        for option in options:
            if option.default is None:  # typer would load pydantic to make a bool of it
                option.default = False
        return options


def load_command(name: str, listed: Listed) -> Any:
    """Return the command that *listed* places, under *name*."""
    module, _, attribute = listed.place.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    # Two groups, because typer makes no group of a single command.
    parent = typer.Typer(callback=lambda: None, add_completion=False, rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        parent.add_typer(found, name=name)
    else:
        parent.command(name)(found)
    group = get_command(parent)
    assert isinstance(group, TyperGroup)
    return group.commands[name]


def _check_shell(option: str) -> None:
    import shellingham

    try:
        shell, _ = shellingham.detect_shell()
    except shellingham.ShellDetectionFailure:
        shell = "no shell"
    if shell not in _SHELLS:
        raise InputError(f"{option}: called from {shell}; call it from bash, zsh or fish")
