"""The kernels that the course texts name, as data: name, item of the course list, weights, what each extracts, aliases.

Weights are written as `parse_kernel` reads them, with the factor that the text prints. D9 to D11 stand for two kernels
each, one for each direction.
"""

from __future__ import annotations

__all__ = ["TABLE"]

TABLE: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    (
        "identity", "D1", "0 0 0; 0 1 0; 0 0 0",
        "Nothing: no pixel changes.",
        (),
    ),
    (
        "sharpen", "D2", "0 -1 0; -1 5 -1; 0 -1 0",
        "The picture with crisper edges: every pixel is pushed away from its four neighbours.",
        (),
    ),
    (
        "box-blur", "D3", "1/9 * 1 1 1; 1 1 1; 1 1 1",
        "The mean of nine pixels: noise and fine detail fade.",
        ("smoothing", "mean", "box"),
    ),
    (
        "gaussian-blur", "D4", "1/16 * 1 2 1; 2 4 2; 1 2 1",
        "A mean that counts the centre most: a softer blur than the box.",
        ("gaussian",),
    ),
    (
        "edge-corner", "D5", "1 0 -1; 0 0 0; -1 0 1",
        "Corners and diagonal edges; straight horizontal and vertical edges answer 0.",
        ("corner",),
    ),
    (
        "laplacian", "D6", "0 1 0; 1 -4 1; 0 1 0",
        "Edges in all directions, bright on their dark side and dark on their bright side.",
        ("edge-minus-4", "laplacian-4"),
    ),
    (
        "edge-8", "D7", "-1 -1 -1; -1 8 -1; -1 -1 -1",
        "Edges, lines and dots, diagonals too: what is brighter than its surroundings comes out bright.",
        ("outline",),
    ),
    (
        "edge-minus-8", "D8", "1 1 1; 1 -8 1; 1 1 1",
        "The same as edge-8, sign turned: what is darker than its surroundings comes out bright.",
        ("laplacian-8",),
    ),
    (
        "prewitt-x", "D9", "-1 0 1; -1 0 1; -1 0 1",
        "Vertical edges: bright where the picture gets brighter to the right.",
        (),
    ),
    (
        "prewitt-y", "D9", "1 1 1; 0 0 0; -1 -1 -1",
        "Horizontal edges: bright where the picture gets brighter upwards.",
        (),
    ),
    (
        "sobel-x", "D10", "-1 0 1; -2 0 2; -1 0 1",
        "Vertical edges, the middle row counted twice: bright where it gets brighter to the right.",
        (),
    ),
    (
        "sobel-y", "D10", "1 2 1; 0 0 0; -1 -2 -1",
        "Horizontal edges, the middle column counted twice: bright where it gets brighter upwards.",
        (),
    ),
    (
        # The text labels these two S_x and S_y; both are diagonals.
        "roberts-x", "D11", "0 1; -1 0",
        "Diagonal edges: bright where the picture gets brighter towards the upper right.",
        (),
    ),
    (
        "roberts-y", "D11", "1 0; 0 -1",
        "Diagonal edges: bright where the picture gets brighter towards the upper left.",
        (),
    ),
    (
        "vertical-edge", "D12", "1 0 -1; 1 0 -1; 1 0 -1",
        "Vertical edges: bright where the picture gets darker to the right.",
        (),
    ),
    (
        "diagonal-line", "D13", "1 -1 -1; -1 1 -1; -1 -1 1",
        "Thin lines that fall to the right, in drawings of 0 and 1; flat areas answer negative.",
        ("filter-1",),
    ),
    (
        "vertical-line", "D14", "-1 1 -1; -1 1 -1; -1 1 -1",
        "Thin vertical lines, in drawings of 0 and 1; flat areas answer negative.",
        ("filter-2",),
    ),
    (
        "x-shape", "D15", "1 0 1; 0 1 0; 1 0 1",
        "The five pixels of an X added up: strongest where two bright diagonals cross, elsewhere a blur.",
        ("x-kernel",),
    ),
    (
        "hollow-plus", "D16", "0 1 0; 1 0 1; 0 1 0",
        "The four direct neighbours added up without the pixel itself: a blur.",
        ("plus-hollow",),
    ),
    (
        "neighbour-sum", "D17", "1 1 1; 1 0 1; 1 1 1",
        "All eight neighbours added up without the pixel itself: a blur, or a count of neighbours in zeros and ones.",
        ("neighbor-sum",),
    ),
    (
        "google-example", "D18", "1 0 0; 1 1 0; 0 0 1",
        "Four pixels along a falling diagonal added up: a worked example, on photographs a slanted blur.",
        (),
    ),
    (
        "ones", "D19", "1 1 1; 1 1 1; 1 1 1",
        "All nine pixels added up: the box blur, nine times as bright.",
        ("ones-3x3",),
    ),
    (
        "bonus-f1", "D20", "-10 -10 -10; 5 5 5; -10 -10 -10",
        "Thin bright horizontal lines; the weights sum to -45, so flat areas show as the negative.",
        ("f1",),
    ),
    (
        "bonus-f2", "D21", "2 2 2; 2 -12 2; 2 2 2",
        "Twice edge-minus-8 plus four times the picture: dark dots, lines and edges on a bright copy of it.",
        ("f2",),
    ),
    (
        "fig-8", "D22", "0 1 2; 2 2 0; 0 1 2",
        "Six pixels added up, some twice: a worked example, on photographs a blur.",
        ("figure-8",),
    ),
)  # fmt: skip
