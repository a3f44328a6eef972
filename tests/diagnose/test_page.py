"""The section in a run's report."""

import json
import re

import pytest

from striate.diagnose.finding import Diagnosis, Finding
from striate.diagnose.page import save_diagnosis, section
from striate.errors import ModelError

FINDING = Finding(cause="dead-relu", says="3 < 4 channels.", evidence=("`relu` 3",), confirmed_by="a count")


def diagnosis(*findings):
    return Diagnosis(subject="run", findings=findings, checked=("dead-relu",), not_checked={"overfitting": "no data"},
                     seconds=1.0)  # fmt: skip


def test_text_is_escaped_and_all_is_said():
    html = section(diagnosis(FINDING))
    assert "3 &lt; 4 channels." in html
    assert "Tested: a count." in html
    assert FINDING.fix[:20] in html
    assert "overfitting: no data" in html
    assert "Nothing found wrong in 1 checks." in section(diagnosis())


def test_a_second_diagnosis_replaces_the_first(tmp_path):
    (tmp_path / "report.html").write_text("<main><p>x</p><footer>end</footer></main>")
    save_diagnosis(diagnosis(FINDING), tmp_path)
    save_diagnosis(diagnosis(), tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert text.count('id="diagnosis"') == 1
    assert "Nothing found wrong" in text
    assert text.endswith("<footer>end</footer></main>")
    assert json.loads((tmp_path / "diagnosis.json").read_text())["healthy"] is True


def test_no_report_no_page(tmp_path):
    assert save_diagnosis(diagnosis(), tmp_path).name == "diagnosis.json"


def test_a_page_that_is_not_striates(tmp_path):
    (tmp_path / "report.html").write_text("<p>mine</p>")
    with pytest.raises(ModelError, match=r"put_section: `.*report.html` must hold a footer, got none"):
        save_diagnosis(diagnosis(), tmp_path)


def test_numbers_by_layer_are_drawn():
    numbers = {"by_layer": {"conv1": 1e-9, "conv2": 1e-5, "fc": 0.1}}
    finding = Finding(
        cause="vanishing-gradient", says="It shrinks.", evidence=(), confirmed_by="a count", numbers=numbers
    )
    html = section(diagnosis(finding))
    assert html.count("<rect") == 3
    assert "size of the gradient, by layer; lengths are orders of magnitude" in html
    widths = [float(width) for width in re.findall(r'<rect[^>]* width="([0-9.]+)"', html)]
    assert widths == sorted(widths)
    assert widths[0] > 0


@pytest.mark.parametrize(
    ("numbers", "bars"),
    [
        ({"dead": {"relu1": [1, 2], "relu2": []}}, 2),
        ({"counts": [50, 3, 7]}, 3),
        ({"val_loss": [0.5, None, 0.7]}, 2),
        ({"held_out": [(10, 0.5), (20, 0.8)]}, 2),
        ({"rate": 3.0}, 0),
        ({"counts": [4]}, 0),
    ],
)
def test_which_numbers_are_drawn(numbers, bars):
    finding = Finding(cause="dead-relu", says="It is.", evidence=(), confirmed_by="a count", numbers=numbers)
    assert section(diagnosis(finding)).count("<rect") == bars
