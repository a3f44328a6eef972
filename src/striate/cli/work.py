"""``striate work``: the arithmetic behind numbers that the user types, and behind any number of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from striate.cli import _work_topics as topics
from striate.cli._work_network import EXAMPLES as NETWORK_EXAMPLES
from striate.cli._work_network import network

EXAMPLES = (
    'Examples: `striate work conv --input "3 5 2 8; 9 7 5 4; 2 0 6 1" --kernel "1 0; 0 1" --stride 1 --padding 0` · '
    '`striate work pool --input scan.csv --kind max` · `striate work receptive-field "3x3, 3x3, pool 2x2"` · '
    '`striate work softmax --input "3.2 1.3 0.2 0.8" --backward` · '
    "`striate work resnet50 --image cat.jpg --at layer3.1.conv2[17,4,9]` (`striate work resnet50 --help`)"
)
HELP = "Show the arithmetic behind a number: every product, every sum, and with --backward every gradient."


class TopicGroup(TyperGroup):
    """Topics by name; any other first word is a network, and goes to the hidden command `network`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command for the first word, and the words that are its own."""
        if args[0] in self.commands or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        _check_model(args[0])
        return "", self.commands["network"], args


def _check_model(word: str) -> None:
    """Refuse what is neither a topic nor a model, before its options are read."""
    from striate import models
    from striate.errors import UsageError, nearest

    known = models.list()
    if ":" not in word and word not in known and not Path(word).exists():
        raise UsageError(
            f"work: `{word}` must be a topic ({', '.join(topics.TOPICS)}) or a model: a name, a run folder, "
            f"package.module:callable.{nearest(word, [*topics.TOPICS, *known])} `striate work --help` says more."
        )


app = typer.Typer(cls=TopicGroup, no_args_is_help=True, help=HELP, epilog=EXAMPLES)
for name, (command, examples) in topics.TOPICS.items():
    app.command(name, epilog=examples)(command)


app.command("network", hidden=True, epilog=NETWORK_EXAMPLES)(network)
