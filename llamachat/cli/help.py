"""How help looks: options by section, examples as they are typed."""

from __future__ import annotations

from typing import Any

import click

from llamachat.cli.options import COMMON, PROGRAM, ClickOption

_OF_OTHERS = frozenset(flag for one in COMMON for flag in (one.flag, one.negation, one.short) if flag)
CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class HelpMixin(click.Command):
    """A command with examples, a closing note, and options listed under their sections' names."""

    def __init__(self, *args: Any, examples: str = "", note: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._examples = examples
        self._note = note

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the options. One of the program's that is none of this command's is told from one that there is not:
        that it stands in the program's help, and what else is spelt a little like it, would only puzzle.
        """
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name not in _OF_OTHERS:
                raise
            raise click.UsageError(f"{error.option_name} is of no use here", ctx) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands, if any, then the options by the sections of the table."""
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                title = parameter.section if isinstance(parameter, ClickOption) else PROGRAM
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Writes the examples and the note."""
        if self._examples:
            with formatter.section("Examples"):
                for line in self._examples.splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")
        if self._note:
            formatter.write_paragraph()
            formatter.write_text(self._note)


class HelpCommand(HelpMixin):
    """A plain command with such help."""
