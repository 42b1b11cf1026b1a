"""The `t2igan` command: its parser, and the command that it dispatches to.

Commands import heavy libraries when they run, so that --help is immediate.
"""

import argparse

from t2igan.commands import COMMANDS
from t2igan.errors import run_script


class Parser(argparse.ArgumentParser):
    """A parser that knows --debug, which `run_script` reads; so do the parsers of its commands, which are made of the same class."""

    def __init__(self, **options):
        super().__init__(**options)
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")


def main(arguments: list[str] | None = None) -> None:
    parser = Parser(prog="t2igan", description="Text-to-image GANs: train, sample, compare.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.HELP)
        command.add_arguments(own)
        own.set_defaults(run=command.run)
    parsed, rest = parser.parse_known_args(arguments)
    take_rest(parsed, rest, parser)
    run_script(lambda: parsed.run(parsed))


def take_rest(parsed: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser) -> None:
    """Adds overrides and prompts that stand after options, where argparse leaves them over."""
    repeated = next((name for name in ("overrides", "prompts") if name in vars(parsed)), None)
    unknown = [word for word in rest if repeated is None or word.startswith("-")]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if repeated:
        getattr(parsed, repeated).extend(rest)
