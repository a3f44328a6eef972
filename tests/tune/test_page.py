from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from striate.tune.comparison import Comparison, Point
from striate.tune.page import comparison_page


def test_the_page_has_every_number_and_loads_nothing():
    points = tuple(
        Point(mode=mode, images_per_class=count, is_all=False, accuracies=(accuracy,), seconds=(1.0,))
        for mode, values in (("scratch", (0.25, 0.5)), ("features <b>", (0.625, 0.75)))
        for count, accuracy in zip((5, 50), values, strict=True)
    )
    page = comparison_page(Comparison(source="runs/a & b", data="bars", test_images=1234, points=points))
    for text in ("25.0 ± 0.0 %", "75.0 ± 0.0 %", "1,234 test images", "runs/a &amp; b", "features &lt;b&gt;"):
        assert text in page
    assert "://" not in page.replace("http://www.w3.org", "")
    svg = page[page.index("<svg") : page.index("</svg>") + 6]
    assert len(ElementTree.fromstring(svg).findall(".//{*}polyline")) == 2


def test_one_size_alone():
    point = Point(mode="head", images_per_class=7, is_all=True, accuracies=(1.0,), seconds=(1.0,))
    assert "7 (all) a class" in comparison_page(Comparison(source="s", data="d", test_images=3, points=(point,)))
