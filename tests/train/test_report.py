"""`striate.train.report`: one well-formed file, hostile names harmless, every section there when it should be."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.errors import ModelError, ResourceError, UsageError
from striate.train._charts import nice_ticks
from striate.train._html import tag
from striate.train.metrics import measure
from striate.train.report import Mistake, put_section, write_report

HOSTILE = ["<script>alert(1)</script>", "two\nlines", "\u202egpj.exe", "a\"b'&c", "\udcff.jpg", "\x1b[31mred"]
VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """Collects elements and texts, and fails when elements are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.elements, self.texts, self.uris = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def _history(epochs: int) -> list[dict[str, float | None]]:
    return [
        {
            "epoch": epoch,
            "train_loss": 2.0 / epoch,
            "train_accuracy": 1 - 0.5 / epoch,
            "val_loss": 2.1 / epoch,
            "val_accuracy": 1 - 0.6 / epoch,
            "lr": 0.1,
            "images_per_second": 5000.0,
            "seconds": 2.0,
        }
        for epoch in range(1, epochs + 1)
    ]


def _evaluation(names):
    random = np.random.default_rng(0)
    weights = random.random((200, len(names)))
    targets = random.integers(0, len(names), 200)
    weights[np.arange(200), targets] += 0.5
    return measure(weights / weights.sum(axis=1, keepdims=True), targets, class_names=names)


def _write(folder: Path, **options) -> tuple[str, Page]:
    defaults = {"config": {"model": "lenet5", "data": "digits"}, "history": _history(3), "evaluation": None}
    path = write_report(folder, **(defaults | options))
    assert path == folder / "report.html"
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def test_all_sections(tmp_path):
    evaluation = _evaluation([str(digit) for digit in range(10)])
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    text, page = _write(
        tmp_path,
        config={
            "model": {"name": "lenet5"},
            "data": {"source": "data/digits"},
            "recipe": {"lr": 0.1, "augmentation": {"cutout": 0}},
            "command": "striate train digits",
        },
        evaluation=evaluation,
        mistakes=[Mistake(name="digits 7", target="1", prediction="7", probability=0.9, pixels=pixels)],
        filters=np.ones((6, 1, 5, 5)),
        environment={"torch": "2.13.0", "processor": {"cores": 2}},
        notes=["bf16 was not used"],
        skipped=[("a/b.jpg", "cut short")],
    )
    sections = [attributes["id"] for attributes in page.named("section")]
    assert sections == [
        "curves", "confusion", "classes", "most-confident-mistakes", "calibration", "first-layer-filters",
        "recipe", "machine", "skipped-files", "reproduce",
    ]  # fmt: skip
    assert [link["href"] for link in page.named("a")] == [f"#{name}" for name in sections]
    assert f"{100 * evaluation.top1:.2f}\u00a0%" in page.texts
    for words in ("lenet5 on digits", "bf16 was not used", "a/b.jpg", "striate train digits", "Off or zero: cutout."):
        assert words in page.texts
    assert "cores" in text


def test_without_anything(tmp_path):
    _, page = _write(tmp_path, config={}, history=[])
    assert [attributes["id"] for attributes in page.named("section")] == ["curves", "recipe", "reproduce"]
    assert "No epoch was finished." in page.texts
    assert "The run has not been evaluated." in page.texts


def test_hostile_names_are_text(tmp_path):
    mistakes = [Mistake(name=name, target=name, prediction=name, probability=0.9) for name in HOSTILE]
    config = {"model": HOSTILE[0], "data": HOSTILE[0], "recipe": {HOSTILE[0]: HOSTILE[1]}, "command": HOSTILE}
    text, page = _write(
        tmp_path,
        config=config,
        evaluation=_evaluation(HOSTILE),
        mistakes=mistakes,
        environment={HOSTILE[0]: HOSTILE},
        notes=HOSTILE,
        skipped=[(name, name) for name in HOSTILE],
    )
    assert page.named("script") == []
    assert "<script" not in text
    assert not set(text) & set("\u202e\x1b")
    for shown in (
        "<script>alert(1)</script>",
        "two\\nlines",
        "\\u202egpj.exe",
        "a\"b'&c",
        "\\udcff.jpg",
        "\\x1b[31mred",
    ):
        assert shown in page.texts


def test_self_contained(tmp_path):
    text, page = _write(tmp_path, filters=np.ones((2, 3, 3, 3)), evaluation=_evaluation(["a", "b"]))
    assert "://" not in text
    policy = next(meta["content"] for meta in page.named("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    sources = [attributes["src"] for attributes in page.named("img")]
    assert len(sources) == 2
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "url(" not in text
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def _picture(page: Page) -> Image.Image:
    source = page.named("img")[0]["src"]
    return Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,"))))


@pytest.mark.parametrize(
    ("shape", "size", "mode"),
    [
        ((8, 8), (160, 160), "L"),
        ((1, 28, 20), (100, 140), "L"),
        ((3, 32, 32), (160, 160), "RGB"),
        ((3, 640, 320), (80, 160), "RGB"),
    ],
)
def test_pictures(tmp_path, shape, size, mode):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    _, page = _write(tmp_path, mistakes=[Mistake(name="x", target="a", prediction="b", probability=1.0, pixels=pixels)])
    image = _picture(page)
    assert (image.size, image.mode) == (size, mode)
    if shape == (3, 32, 32):
        assert np.array_equal(np.asarray(image)[::5, ::5], pixels.transpose(1, 2, 0))  # 160 / 32: blocks of 5 x 5


def test_mistakes_most_confident_first_and_limited(tmp_path):
    mistakes = [Mistake(name=f"file {i:02d}", target="a", prediction="b", probability=i / 100) for i in range(50)]
    _, page = _write(tmp_path, mistakes=mistakes)
    names = [text for text in page.texts if text.startswith("file ")]
    assert names == [f"file {i}" for i in range(49, 25, -1)]


def test_filters_share_one_scale(tmp_path):
    filters = np.zeros((2, 1, 2, 2))
    filters[0, 0, 0] = [2.0, -1.0]
    filters[1, 0, 0, 0] = 1.0
    _, page = _write(tmp_path, filters=filters)
    # 56 / 2: blocks of 28; 127.5 + 127.5 w / 2, rounded to even: 2 is 255, -1 is 64, 0 is 128.
    assert np.asarray(_picture(page))[::28, ::28].tolist() == [[255, 64], [128, 128]]
    assert page.named("img")[1]["title"] == "filter 2: largest weight 1"


def test_confusion_by_number_of_classes(tmp_path):
    for count, has_numbers, has_heat in ((20, True, False), (21, False, True), (101, False, False)):
        text, _ = _write(tmp_path, evaluation=_evaluation([f"class {i}" for i in range(count)]))
        assert ('class="matrix"' in text) == has_numbers
        assert ('class="chart heat"' in text) == has_heat


def test_gaps_in_history_break_the_line(tmp_path):
    history = _history(4)
    history[1]["train_loss"] = float("nan")
    history[2]["val_accuracy"] = None
    text, _ = _write(tmp_path, history=history)
    strokes = [path.count("M") for path in re.findall(r'<path d="([^"]*)"', text)]
    # Loss, accuracy (training, validation each), rate, speed: training loss and validation accuracy restart once.
    assert strokes == [2, 1, 1, 2, 1, 1]
    assert "nan" not in text


def test_many_epochs_and_log_axis(tmp_path):
    history = [row | {"train_loss": 10.0 ** (-row["epoch"] / 50)} for row in _history(300)]
    text, page = _write(tmp_path, history=history)
    assert "Loss (logarithmic)" in page.texts
    assert "epoch 300: training 1e-06, validation 0.007" in page.texts
    assert len(text) < 1_000_000


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.3, 9.1, [0, 2, 4, 6, 8, 10]),
        (0.5, 0.5, [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-3, -3, [-3, -2, -1, 0]),
    ],
)
def test_nice_ticks(low, high, expected):
    assert nice_ticks(low, high) == pytest.approx(expected)


def test_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "report.html").write_text("the old one")
    bad = [Mistake(name="x", target="a", prediction="b", probability=1.0, pixels=np.zeros((8, 8)))]
    with pytest.raises(UsageError, match=r"`pixels` of a mistake must be uint8.*got float64 of shape \(8, 8\)"):
        _write(tmp_path, mistakes=bad)
    with pytest.raises(UsageError, match=r"`filters` must have shape \(C_out, C_in, kH, kW\), got \(10, 64\)"):
        _write(tmp_path, filters=np.zeros((10, 64)))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "the old one"
    with pytest.raises(ResourceError, match=r"report\.html` cannot be written"):
        _write(tmp_path / "missing")


def test_a_section_takes_the_place_of_the_last_one(tmp_path):
    page = tmp_path / "report.html"
    page.write_text("<main>figures<footer>end</footer></main>", encoding="utf-8")
    for words in ("first", "second"):
        assert put_section(tmp_path, tag("section", words), name="note") == page
    put_section(tmp_path, tag("section", "other"), name="more")
    text = page.read_text(encoding="utf-8")
    assert "first" not in text
    assert text.index("figures") < text.index("second") < text.index("other") < text.index("<footer>")


def test_no_report_and_a_page_that_is_none(tmp_path):
    assert put_section(tmp_path, tag("p", "words"), name="note") is None
    (tmp_path / "report.html").write_text("<p>mine</p>", encoding="utf-8")
    with pytest.raises(ModelError, match="must hold a footer, got none"):
        put_section(tmp_path, tag("p", "words"), name="note")
