"""Numbers as people read them."""

from __future__ import annotations

__all__ = ["bytes_text", "count_text", "short_count"]

PREFIXES = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def count_text(number: int) -> str:
    """Write a count: exactly up to 99,999, then with three digits and a prefix.

    Example:
        >>> count_text(61_706), count_text(4_089_184_256)
        ('61,706', '4.09 G')
    """
    return f"{number:,}" if abs(number) < 100_000 else short_count(number)


def short_count(number: float) -> str:
    """Write a number with three digits and a prefix.

    Example:
        >>> short_count(416_520), short_count(784), short_count(999_999)
        ('417 k', '784', '1.00 M')
    """
    for size, prefix in PREFIXES:
        if abs(number) >= size * 0.9995:
            value = number / size
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {prefix}"
    return f"{number:.0f}"


def bytes_text(number: int) -> str:
    """Write bytes, in thousands as a maker of disks counts.

    Example:
        >>> bytes_text(602_112), bytes_text(100)
        ('602 kB', '100 B')
    """
    text = short_count(number)
    return f"{text}B" if text[-1].isalpha() else f"{text} B"
