"""The page: complete, safe, drawn without boxes on top of each other."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from striate.anatomy._layout import lay_out
from striate.anatomy.examine import anatomy
from striate.errors import UsageError


@pytest.fixture(scope="module")
def page() -> str:
    return anatomy("lenet5", time=True).html(effective=True)


def _graph(page: str) -> ElementTree.Element:
    return ElementTree.fromstring(re.search(r'<div class="graph">(<svg.*?</svg>)</div>', page, re.DOTALL).group(1))


def test_it_loads_nothing(page):
    assert page.startswith("<!doctype html>")
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "<script" not in page
    assert "default-src &#x27;none&#x27;" in page


def test_it_shows_graph_table_field_and_advice(page):
    for words in (
        "Receptive field",
        "Graph",
        "Layers",
        "What follows",
        "features.conv2",
        "44,426",
        "depends noticeably",
    ):
        assert words in page
    assert page.count("<image") == 4  # twice the picture and a shade over it


def test_a_box_for_each_layer_with_its_activation(page):
    svg = _graph(page)
    titles = [title.text for title in svg.iter("title")]
    assert any(text.startswith("features.conv1, features.relu1: 86,400 multiply-adds") for text in titles)
    assert len(titles) == 1 + 8  # the input, then 2 convolutions, 2 pools, flatten and 3 dense layers with what follows


@pytest.mark.parametrize("name", ["resnet20", "googlenet", "densenet121"])
def test_no_box_lies_on_another(name):
    svg = _graph(anatomy(name).html(at="fc" if name == "googlenet" else None))
    places = [(float(r.get("x")), float(r.get("y")), float(r.get("width"))) for r in svg.iter("rect")]
    rows: dict[float, list[tuple[float, float]]] = {}
    for x, y, width in places:
        rows.setdefault(y, []).append((x, x + width))
    for row in rows.values():
        ordered = sorted(row)
        assert all(before[1] <= after[0] for before, after in pairwise(ordered))
    width, height = float(svg.get("width")), float(svg.get("height"))
    assert all(x >= 0 and x + w <= width and 0 <= y <= height for x, y, w in places)


def test_edges_go_down_from_row_to_row():
    drawing = lay_out({0: [], 1: [0], 2: [1], 3: [0, 2]})
    assert drawing.rows == 4
    for edge in drawing.edges:
        assert [row for _, row in edge] == list(range(edge[0][1], edge[-1][1] + 1))
    assert (drawing.places[0], drawing.edges[-1][-1]) == (drawing.edges[0][0], drawing.places[3])


def test_names_are_escaped():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("<b>", nn.Conv2d(1, 1, 3))

        def forward(self, x):
            return getattr(self, "<b>")(x)

    assert "<b>&" not in (found := anatomy(Odd(), torch.zeros(1, 1, 8, 8)).html())
    assert "&lt;b&gt;" in found
    assert "<b></b>" not in found


def test_saving(tmp_path):
    found = anatomy(nn.Linear(2, 2), torch.zeros(1, 2))
    path = found.save(tmp_path / "a.html")
    assert (
        "Receptive field" not in path.read_text().partition("<table>")[0].partition("<main>")[2].partition("Graph")[0]
    )
    with pytest.raises(UsageError, match=r"`html` must be a new file, and .*a\.html exists"):
        found.save(path)
    with pytest.raises(UsageError, match=r"`html` must end in \.html, got 'a\.txt'"):
        found.save(tmp_path / "a.txt")
