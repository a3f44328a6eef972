"""Names of weights: brought up to date, and behind the one prefix by which a file and a network may differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["COUNTER", "Renaming", "current_key", "find_renaming"]

# Wrappers that put their name before every key: DistributedDataParallel and torch.compile.
_WRAPPER_PREFIXES = ("module.", "_orig_mod.")
# DenseNet files from before 2018 say `norm.1` for `norm1`: module names may no longer hold a dot.
_OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
# Files older than PyTorch 0.4.1 lack these counters, and no network's answer depends on them.
COUNTER = ".num_batches_tracked"


def current_key(key: str) -> str:
    """Return the name a tensor has in our networks, from the name it has in a file."""
    while key.startswith(_WRAPPER_PREFIXES):
        key = key.partition(".")[2]
    return _OLD_DENSENET_KEY.sub(r"\1\2.", key)


@dataclass(frozen=True, kw_only=True)
class Renaming:
    """The one prefix by which the names of a file differ from those of a network."""

    removed: str = ""
    """What only the file's names begin with."""
    added: str = ""
    """What only the network's names begin with."""
    candidates: tuple[str, ...] = ()
    """Prefixes that fit equally well, so that none of them was taken."""

    @property
    def prefix(self) -> str:
        """What was done, in short: ``-backbone.`` or ``+backbone.``; empty where the names were left alone."""
        if self.removed:
            return f"-{self.removed}"
        return f"+{self.added}" if self.added else ""

    def __str__(self) -> str:
        if self.removed:
            return f"`{self.removed}` taken off the file's names"
        return f"`{self.added}` put before the file's names"

    def sources(self, file: Collection[str], network: Collection[str]) -> dict[str, str]:
        """Return the name in the file for each name of the network that is there.

        A name beside the prefix stands for itself, where no other has taken it.
        """
        renamed = {
            name: self.removed + name.removeprefix(self.added) for name in network if name.startswith(self.added)
        }
        found = {name: source for name, source in renamed.items() if source in file}
        used = set(found.values())
        free = {name for name in network if name not in found and name in file and name not in used}
        return {name: found.get(name, name) for name in network if name in found or name in free}


def find_renaming(file: Collection[str], network: Collection[str]) -> Renaming:
    """Find the prefix behind which the names fit.

    Names that fit as they are stay. Else it is the one prefix behind which all names of the smaller side stand on the
    other, or, where there is none, the only one behind which more than half of them do.

    Args:
        file: Names in the file.
        network: Names in the network.

    Example:
        >>> find_renaming(["net.fc.weight", "net.fc.bias"], ["fc.weight", "fc.bias"]).prefix
        '-net.'
        >>> find_renaming(["student.fc.weight", "teacher.fc.weight"], ["fc.weight"]).candidates
        ('student.', 'teacher.')
    """
    theirs, ours = ({name for name in names if not name.endswith(COUNTER)} for names in (file, network))
    if 2 * len(theirs & ours) >= min(len(theirs), len(ours)):
        return Renaming()
    shares = {("removed", prefix): count / len(ours) for prefix, count in _prefixes(theirs, known=ours)}
    shares |= {("added", prefix): count / len(theirs) for prefix, count in _prefixes(ours, known=theirs)}
    complete = [change for change, share in shares.items() if share == 1]
    best = complete or [change for change, share in shares.items() if share > 0.5]
    if len(best) != 1:
        return Renaming(candidates=tuple(sorted(prefix for _, prefix in best)))
    [(side, prefix)] = best
    return Renaming(removed=prefix) if side == "removed" else Renaming(added=prefix)


def _prefixes(names: Collection[str], *, known: Collection[str]) -> Collection[tuple[str, int]]:
    """Each prefix behind which some of the names are known ones, with how many."""
    counts = Counter[str]()
    for name in names:
        for place, character in enumerate(name, start=1):
            if character == "." and name[place:] in known:
                counts[name[:place]] += 1
    return counts.items()
