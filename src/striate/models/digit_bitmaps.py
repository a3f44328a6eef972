"""The fixed output codes of LeNet-5 of 1998: each digit drawn in black and white on 7 x 12 pixels.

The paper shows its bitmaps as a picture only (figure 3); these are drawn anew on the same grid.
Source: LeCun et al. 1998, section II.B, "the output layer".
"""

from __future__ import annotations

import random

__all__ = ["BITMAPS", "class_codes"]

_ROWS = """
.#####.  ...##..  .#####.  #######  ....##.  #######  ..####.  #######  .#####.  .#####.
##...##  ..###..  ##...##  ....##.  ...###.  ##.....  .##....  ##...##  ##...##  ##...##
##...##  .####..  ##...##  ...##..  ...###.  ##.....  ##.....  .....##  ##...##  ##...##
##...##  ...##..  .....##  ..##...  ..####.  ##.....  ##.....  ....##.  ##...##  ##...##
##...##  ...##..  .....##  ..####.  ..#.##.  ######.  ######.  ....##.  .##.##.  ##...##
##..###  ...##..  ....##.  .....##  .##.##.  ##...##  ###..##  ...##..  ..###..  ##..###
###..##  ...##..  ...##..  .....##  .#..##.  .....##  ##...##  ...##..  .##.##.  .######
##...##  ...##..  ..##...  .....##  #######  .....##  ##...##  ..##...  ##...##  .....##
##...##  ...##..  .##....  .....##  ....##.  .....##  ##...##  ..##...  ##...##  .....##
##...##  ...##..  ##.....  ##...##  ....##.  ##...##  ##...##  ..##...  ##...##  ....##.
.##.##.  ...##..  ##.....  ##...##  ....##.  ##...##  .##.##.  ..##...  ##...##  ...##..
..###..  .######  #######  .#####.  ....##.  .#####.  ..###..  ..##...  .#####.  .###...
"""

# BITMAPS[digit] holds 12 rows of 7 characters, "#" for ink.
BITMAPS: tuple[tuple[str, ...], ...] = tuple(zip(*(row.split() for row in _ROWS.split("\n")[1:-1]), strict=True))


def class_codes(num_classes: int) -> list[list[float]]:
    """One code of 84 numbers, 1 for ink and -1 for paper, for each class.

    Classes beyond the ten digits get random codes, always the same: the paper names random codes as the alternative.

    Args:
        num_classes: Number of codes.

    Example:
        >>> [len(class_codes(12)), len(class_codes(12)[0])]
        [12, 84]
    """
    codes = [[1.0 if pixel == "#" else -1.0 for row in bitmap for pixel in row] for bitmap in BITMAPS[:num_classes]]
    generator = random.Random(1998)
    while len(codes) < num_classes:
        codes.append([generator.choice((-1.0, 1.0)) for _ in range(84)])
    return codes
