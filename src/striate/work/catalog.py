"""What `striate filter` has: all kernels, all detectors, and what is not offered, as a table or as JSON types."""

from __future__ import annotations

from typing import Any

from striate.work.detectors import NOT_OFFERED, list_detectors
from striate.work.kernels import list_kernels

__all__ = ["catalog", "catalog_text"]


def catalog() -> dict[str, Any]:
    """Return kernels, detectors and omissions as plain JSON types.

    Example:
        >>> {name: len(rows) for name, rows in catalog().items()}
        {'kernels': 25, 'detectors': 19, 'not_offered': 12}
    """
    return {
        "kernels": [kernel.to_dict() for kernel in list_kernels()],
        "detectors": [{"name": each.name, "item": each.item, "extracts": each.extracts} for each in list_detectors()],
        "not_offered": [{"name": each.name, "item": each.item, "reason": each.reason} for each in NOT_OFFERED],
    }


def catalog_text() -> str:
    """Return the same as lines of text.

    Example:
        >>> [line[:45] for line in catalog_text().splitlines() if "sobel-x" in line]
        ['  sobel-x         D10  -1 0 1; -2 0 2; -1 0 1']
    """
    kernels, detectors = list_kernels(), list_detectors()
    name = max(len(kernel.name) for kernel in kernels) + 2
    weights = max(len(kernel.text) for kernel in kernels) + 2
    lines = ["Kernels (--kernel NAME, or typed):"]
    for kernel in kernels:
        also = f" Also: {', '.join(kernel.aliases)}." if kernel.aliases else ""
        lines.append(f"  {kernel.name:<{name}}{kernel.item:<5}{kernel.text:<{weights}}{kernel.extracts}{also}")
    name = max(len(each) for each in [d.name for d in detectors] + [each.name for each in NOT_OFFERED]) + 2
    lines += ["", "Detectors (--detector NAME, in grey, by scikit-image):"]
    lines += [f"  {each.name:<{name}}{each.item:<5}{each.extracts}" for each in detectors]
    lines += ["", "Not offered:"]
    lines += [f"  {each.name:<{name}}{each.item:<5}{each.reason}" for each in NOT_OFFERED]
    return "\n".join(lines)
