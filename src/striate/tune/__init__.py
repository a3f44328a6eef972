"""Transfer: from a network that knows to data that is small.

The package is also the function: ``striate.tune("runs/mnist-lenet5", "digits")`` is `striate.tune.tune`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from striate._lazy import lazy_names, make_callable

if TYPE_CHECKING:
    from striate.tune.comparison import Comparison as Comparison
    from striate.tune.comparison import compare as compare
    from striate.tune.head import Head as Head
    from striate.tune.head import find_head as find_head
    from striate.tune.head import replace_head as replace_head
    from striate.tune.modes import MODES as MODES
    from striate.tune.tuning import tune as tune

_HOMES = {
    "Comparison": "comparison",
    "Head": "head",
    "MODES": "modes",
    "compare": "comparison",
    "find_head": "head",
    "replace_head": "head",
    "tune": "tuning",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
make_callable(__name__)
