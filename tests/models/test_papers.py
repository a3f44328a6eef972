"""Papers: each is used, and says where it can be read."""

from __future__ import annotations

from striate import models
from striate.models import papers
from striate.models.entry import Paper


def test_every_paper_is_used_and_has_a_link() -> None:
    known = {value.title for value in vars(papers).values() if isinstance(value, Paper)}
    used = {models.info(name).paper for name in models.list()}
    assert {paper.title for paper in used} == known
    assert all(paper.url.startswith("https://") and 1986 <= paper.year <= 2024 for paper in used)
