"""The list of kernels and detectors."""

from __future__ import annotations

import json

from striate.work.catalog import catalog, catalog_text
from striate.work.detectors import NOT_OFFERED, list_detectors
from striate.work.kernels import list_kernels


def test_everything_is_listed_with_its_item():
    lines = catalog_text().splitlines()
    for each in list_kernels():
        (line,) = (line for line in lines if line.startswith(f"  {each.name} ") and f" {each.item} " in line)
        assert each.text in line
        assert each.extracts in line
        assert all(alias in line for alias in each.aliases)
    for each in list_detectors():
        assert any(line.split() == [each.name, each.item, *each.extracts.split()] for line in lines)
    for each in NOT_OFFERED:
        assert any(line.startswith(f"  {each.name}  ") and line.endswith(each.reason) for line in lines)


def test_the_same_as_json():
    listed = json.loads(json.dumps(catalog()))
    assert [len(listed[name]) for name in ("kernels", "detectors", "not_offered")] == [25, 19, 12]
    assert listed["kernels"][2]["text"] == "1/9 * 1 1 1; 1 1 1; 1 1 1"
    assert set(listed["not_offered"][0]) == {"name", "item", "reason"}
