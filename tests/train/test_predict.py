"""Prediction: every form of input, the same numbers as evaluation, and images that cannot be read."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import striate
from striate.errors import DataError, ImageError, UsageError
from striate.train.evaluate import predict_logits
from striate.train.predict import Prediction, predict_images, to_csv, to_table

pytestmark = pytest.mark.usefixtures("unmeasured")


@pytest.fixture(scope="module")
def test_images(digits_run) -> np.ndarray:
    test = striate.data.load("digits").test
    return test.images.gather(np.arange(len(test))).pixels[:, 0].numpy()


@pytest.fixture(scope="module")
def files(tmp_path_factory, test_images):
    """The test split of the digits as PNG files, in order."""
    folder = tmp_path_factory.mktemp("digits")
    for number, image in enumerate(test_images):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def colour_run(tmp_path_factory, image_folder, fast, quiet):
    options = fast | {"epochs": 3, "batch_size": 8, "channels_last": None}
    return striate.train(
        image_folder,
        model="cnn_cifar",
        image_size=16,
        output=tmp_path_factory.mktemp("runs"),
        progress=quiet,
        **options,
    )


def _probabilities(run, predictions) -> torch.Tensor:
    rows = [dict(zip(p.classes, p.probabilities, strict=True)) for p in predictions]
    return torch.tensor([[row[name] for name in run.class_names] for row in rows])


def _evaluated(run, split="test") -> torch.Tensor:
    dataset = run.load_data().pick(split)
    logits, _ = predict_logits(run.network, dataset, preprocessing=run.config.preprocessing, configuration=run.machine)
    return logits.softmax(dim=1)


def test_files_get_the_probabilities_of_the_evaluation(digits_run, files):
    predictions = digits_run.predict(files, top=10)
    assert [p.name for p in predictions] == [str(path) for path in sorted(files.iterdir())]
    torch.testing.assert_close(_probabilities(digits_run, predictions), _evaluated(digits_run), rtol=0, atol=1e-5)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_files_of_many_sizes_get_the_probabilities_of_the_evaluation(colour_run, image_folder, split):
    dataset = colour_run.load_data().pick(split)
    paths = [image_folder / dataset.identify(index) for index in range(len(dataset))]
    predictions = colour_run.predict(paths, top=3)
    torch.testing.assert_close(
        _probabilities(colour_run, predictions), _evaluated(colour_run, split), rtol=0, atol=1e-5
    )


def test_a_run_with_test_time_augmentation_predicts_as_it_evaluates(tmp_path, digits_run, files, fast, quiet):
    options = fast | {"epochs": 1, "tta": "flip-shift"}
    run = striate.train("digits", output=tmp_path, progress=quiet, **options)
    dataset = run.load_data().test
    logits, _ = predict_logits(
        run.network, dataset, preprocessing=run.config.preprocessing, configuration=run.machine, tta="flip-shift"
    )
    answers = _probabilities(run, run.predict(files, top=10))
    torch.testing.assert_close(answers, logits.softmax(dim=1), rtol=0, atol=1e-5)


def test_arrays_tensors_bytes_and_paths_agree(digits_run, files, test_images):
    path = files / "003.png"
    forms = [
        path,
        str(path),
        path.read_bytes(),
        test_images[3],
        test_images[3][None],
        test_images[3][..., None],
        np.repeat(test_images[3][..., None], 3, axis=2),
        torch.from_numpy(test_images[3]),
    ]
    answers = [digits_run.predict(form)[0] for form in forms]
    for answer in answers:
        assert answer.classes == answers[0].classes
        assert answer.probabilities == pytest.approx(answers[0].probabilities, abs=1e-6)
    together = digits_run.predict(forms)
    assert [p.name for p in together] == [str(path), str(path), *(f"image {number}" for number in range(2, 8))]


def test_a_stack_of_images(digits_run, test_images):
    stack = test_images[:5, None]
    for form in (stack, torch.from_numpy(stack), list(stack), tuple(stack)):
        predictions = digits_run.predict(form)
        assert [p.name for p in predictions] == [f"image {number}" for number in range(5)]


def test_more_images_than_a_batch_stay_in_order(digits_run, test_images):
    names = [p.name for p in digits_run.predict(list(test_images[:150]))]
    assert names == [f"image {number}" for number in range(150)]


def test_patterns_and_standard_input(digits_run, files, monkeypatch):
    assert len(digits_run.predict(str(files / "00?.png"))) == 10
    assert len(digits_run.predict([str(files / "00?.png"), files / "100.png"])) == 11
    content = (files / "003.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    (answer,) = digits_run.predict("-")
    assert answer.name == "-"
    assert answer.classes == digits_run.predict(files / "003.png")[0].classes


def test_a_grey_picture_into_a_colour_run_and_back(colour_run, digits_run, tmp_path):
    generator = np.random.default_rng(0)
    grey = generator.integers(0, 255, size=(24, 24), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    from_file, from_array = colour_run.predict([tmp_path / "grey.png", grey])
    assert from_file.probabilities == pytest.approx(from_array.probabilities, abs=1e-6)
    colour = generator.integers(0, 255, size=(8, 8, 3), dtype=np.uint8)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    answers = digits_run.predict([tmp_path / "colour.png", colour, colour.transpose(2, 0, 1)])
    # The same luma to the last bit: the array takes Pillow's own fixed-point numbers.
    assert answers[0].probabilities == answers[1].probabilities == answers[2].probabilities


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8)), r"image 0 must be of type uint8 with values 0 to 255, got float64"),
        (np.zeros((8, 8, 4), dtype=np.uint8), r"image 0 must have shape \(H, W\), .* got \(8, 8, 4\)"),
        (np.zeros((8,), dtype=np.uint8), r"got \(8,\)"),
        (b"not an image", "image"),
        (b"", "image"),
    ],
)
def test_what_cannot_be_read_is_an_image_error(digits_run, image, message):
    with pytest.raises(ImageError, match=message):
        digits_run.predict([image])


def test_what_is_no_image_at_all(digits_run):
    with pytest.raises(DataError, match="`images` must be paths, arrays or bytes, got int"):
        digits_run.predict(3)
    with pytest.raises(DataError, match="where nothing is"):
        digits_run.predict("no/such/file.png")
    with pytest.raises(UsageError, match="`top` must be at least 1, got 0"):
        digits_run.predict(np.zeros((8, 8), dtype=np.uint8), top=0)


def test_skip_bad_answers_the_others(digits_run, files, tmp_path):
    (tmp_path / "broken.png").write_bytes((files / "003.png").read_bytes()[:60])
    paths = [files / "002.png", tmp_path / "broken.png", files / "004.png"]
    first, bad, last = predict_images(digits_run, paths, skip_bad=True)
    assert "broken.png" in bad.error
    assert not bad.classes
    with pytest.raises(ImageError, match=r"broken\.png"):
        bad.class_name  # noqa: B018  raises
    alone = digits_run.predict([files / "002.png", files / "004.png"])
    for answer, expected in zip((first, last), alone, strict=True):
        assert answer.class_name == expected.class_name
        assert answer.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    with pytest.raises(ImageError, match=r"broken\.png"):
        digits_run.predict(paths)


def test_only_unreadable_images(digits_run, tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (answer,) = predict_images(digits_run, tmp_path / "a.png", skip_bad=True)
    assert answer.error


def test_a_run_on_vectors_takes_no_images(tmp_path, fast, quiet):
    run = striate.train("iris", output=tmp_path, progress=quiet, **(fast | {"epochs": 1, "batch_size": 16}))
    with pytest.raises(UsageError, match="was trained on vectors; predict takes images"):
        run.predict("x.png")


SURE = Prediction(name="a.png", classes=("cat", "dog"), probabilities=(0.75, 0.25))
BAD = Prediction(name="new\nline.png", error="cannot be read, sorry")


def test_table():
    assert to_table([SURE, BAD]) == "a.png          cat 75.0 %  dog 25.0 %\nnew\\nline.png  unreadable\n"
    assert to_table([]) == ""


def test_comma_separated_values():
    assert to_csv([SURE, BAD], top=2) == (
        "name,class_1,probability_1,class_2,probability_2,error\n"
        "a.png,cat,0.75,dog,0.25,\n"
        '"new\nline.png",,,,,"cannot be read, sorry"\n'
    )


def test_top_is_at_most_the_number_of_classes(digits_run):
    (answer,) = digits_run.predict(np.zeros((8, 8), dtype=np.uint8), top=99)
    assert sum(answer.probabilities) == pytest.approx(1.0, abs=1e-5)
    assert len(answer.classes) == 10
    assert list(answer.probabilities) == sorted(answer.probabilities, reverse=True)
    assert answer.to_dict() == {
        "name": "image 0",
        "classes": answer.classes,
        "probabilities": answer.probabilities,
        "error": None,
    }
