"""The page of commands, from the parser that reads them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from reference.markdown import grid
from trialsim.cli.parser import command_line


def commands_page() -> str:
    """Return every command with its options, as ``--help`` has them."""
    parser = command_line()
    parts = [
        "# Commands",
        f"{parser.description} {parser.epilog} Answers go to standard output, progress and the "
        "command that repeats the run to standard error. Exit status: 0 an answer; 1 failed or "
        "incomplete; 2 usage, bad input, a design that cannot be or is not supported; 130 "
        "interrupted, with what is there readable. This page is made from the program's own "
        "parser: `trialsim COMMAND --help` says the same.",
        *_commands(parser),
    ]
    return "\n\n".join(parts) + "\n"


def _commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    told = {choice.dest: choice.help or "" for choice in subparsers._choices_actions}
    yield grid(("command", "what for"), [(f"[`{n}`](#trialsim-{n})", t) for n, t in told.items()])
    for name, command in subparsers.choices.items():
        yield f"## trialsim {name}"
        yield (command.description or "").strip()
        formatter = argparse.HelpFormatter(prog=command.prog, width=88)
        formatter.add_usage(command.usage, command._actions, command._mutually_exclusive_groups)
        yield f"```text\n{formatter.format_help().strip()}\n```"
        for group in command._action_groups:
            rows = [(_typed(a), _meant(a)) for a in group._group_actions if _shown(a)]
            if rows:
                if group.title not in ("positional arguments", "options"):
                    yield f"**{group.title}** {group.description or ''}"
                yield grid(("option", "what it does"), rows)


def _shown(action: argparse.Action) -> bool:
    return action.help is not argparse.SUPPRESS and action.dest != "help"


def _typed(action: argparse.Action) -> str:
    takes = action.metavar or ("|".join(map(str, action.choices)) if action.choices else "")
    takes = " ".join(takes) if isinstance(takes, tuple) else takes
    names = action.option_strings or [str(takes or action.dest)]
    value = f" {takes}" if takes and action.option_strings else ""
    return ", ".join(f"`{name}{value}`" for name in names)


def _meant(action: argparse.Action) -> str:
    words = (action.help or "").replace("%%", "%")
    one_of = ", ".join(f"`{choice}`" for choice in action.choices or ())
    repeated = "may be repeated" if isinstance(action, argparse._AppendAction) else ""
    said = [words, f"one of {one_of}" if one_of else "", repeated if "repeat" not in words else ""]
    return "; ".join(part for part in said if part)
