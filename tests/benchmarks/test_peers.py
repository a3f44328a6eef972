"""What the engine is compared with: networks like the registry's, tuned PyTorch, Keras, ONNX Runtime."""

import importlib
import sys

import pytest

np = pytest.importorskip("numpy")


def module(name):
    return importlib.import_module(f"benchmarks.{name}")


def fake_watch(others):
    values = iter(others)
    return lambda: type("Quiet", (), {"others": lambda self: next(values)})()


def test_peers_have_the_networks_of_the_registry():
    models, networks = pytest.importorskip("striate.models"), module("_networks")
    for name, network in networks.NETWORKS.items():
        info = models.info(name)
        assert network.num_params == info.num_params
        if network.layers:
            assert networks.count_params(network) == info.num_params
    assert {name for name, network in networks.NETWORKS.items() if network.layers} >= {
        row.model for row in module("_engine_rows").ROWS if {"keras", "onnxruntime"} & set(dict(row.reaches))
    }


def test_missing_peers_are_left_out_with_the_way_to_get_them(monkeypatch):
    peers = module("_engine_peers")
    monkeypatch.setitem(peers.PEERS, "keras", peers.Peer(title="K", module="m", packages=("no_such_package_here",)))
    reason = peers.why_left_out("keras", python=sys.executable)
    assert reason.startswith("K is left out: it is not installed. Get it: ")
    assert "pip install numpy no_such_package_here" in reason
    assert "\n" not in reason
    monkeypatch.setitem(peers.PEERS, "keras", peers.Peer(title="K", module="m", packages=("json",)))
    assert peers.why_left_out("keras", python=sys.executable) is None
    monkeypatch.setattr(peers, "has_bf16", lambda: False)
    assert "no bfloat16 multiply-adds" in peers.why_left_out("tuned-bf16", python=sys.executable)
    monkeypatch.setenv(peers.PYTHON_VARIABLE, "somewhere/python")
    assert peers.peers_python() == "somewhere/python"


def test_tuned_pytorch_tries_everything_and_says_what_failed():
    pytest.importorskip("torch")
    tuned, attempts = module("peers.tuned_pytorch"), []
    settings = tuned.eager_settings(threads=2, bf16=False, images=True)
    assert len(set(settings)) == 16
    assert len(tuned.eager_settings(threads=1, bf16=True, images=False)) == 4
    assert all(setting.bf16 for setting in tuned.eager_settings(threads=2, bf16=True, images=True))

    def attempt(asked):
        attempts.append(list(asked))
        assert len({setting.keeps_freed_memory for setting in asked}) == 1
        if asked[0].compile:
            return "no compiler"
        return [1 + s.channels_last + 2 * s.keeps_freed_memory + s.threads + (s.optimizer == "fused") for s in asked]

    best, tried = tuned.choose(attempt, threads=2, bf16=False, images=True)
    assert best == tuned.Setting(threads=2, channels_last=True, optimizer="fused", keeps_freed_memory=True)
    assert len(tried) == 18
    assert list(tried.values()).count("no compiler") == 2
    compiled = [setting for asked in attempts[2:] for setting in asked]
    assert {setting.channels_last for setting in compiled} == {False, True}
    assert all(s.keeps_freed_memory and s.threads == 2 and s.optimizer == "fused" for s in compiled)
    with pytest.raises(RuntimeError, match="no setting could be measured"):
        tuned.choose(lambda asked: "broken", threads=1, bf16=False, images=False)


def test_a_peer_disturbed_while_choosing_may_choose_again():
    pytest.importorskip("torch")
    attempt_when_quiet, others = module("peers.tuned_pytorch").attempt_when_quiet, []

    def best_of(answers, busy):
        answers = iter(answers)
        return attempt_when_quiet(lambda: next(answers), others=others, watch=fake_watch(busy))

    assert best_of([[1.0, 5.0]], [0.01]) == [1.0, 5.0]
    assert best_of([[1.0, 5.0], [2.0, 4.0]], [0.9, 0.8]) == [2.0, 5.0]
    assert best_of(["failed"], [0.9]) == "failed"
    assert best_of([[1.0], "failed"], [0.9, 0.02]) == [1.0]
    assert best_of([[1.0]], [None]) == [1.0]
    assert others == [0.01, 0.8, 0.9, 0.02]


@pytest.mark.parametrize(("last", "kernels"), [(False, "fused"), (True, "foreach")])
def test_tuned_steps_train_like_stock_ones(last, kernels):
    torch = pytest.importorskip("torch")
    stock, tuned, create = module("peers.pytorch_step"), module("peers.tuned_pytorch"), module("_networks").create
    batches = [(inputs[:4], targets[:4]) for inputs, targets in stock.tensor_batches("lenet5", batch_size=4)[:2]]
    networks = [create("lenet5"), create("lenet5")]
    setting = tuned.Setting(threads=1, channels_last=last, optimizer=kernels)
    steps = (
        stock.training_step(networks[0], stock.sgd(networks[0]), batches),
        tuned.build(setting, network=networks[1], batches=batches),
    )
    before = networks[0].classifier.head.weight.detach().clone()
    for _ in range(3):
        for step in steps:
            step()
    assert not torch.equal(networks[0].classifier.head.weight, before)
    for own, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_keras_layers_are_those_of_the_network():
    layers, networks = module("peers.keras_jax").keras_layers, module("_networks").NETWORKS
    assert layers(networks["cnn_cifar"]) == [
        ("Conv2D", {"filters": 32, "kernel_size": 3, "padding": "same", "activation": "relu"}),
        ("MaxPooling2D", {"pool_size": 2}),
        ("Conv2D", {"filters": 64, "kernel_size": 3, "padding": "same", "activation": "relu"}),
        ("MaxPooling2D", {"pool_size": 2}),
        ("Flatten", {}),
        ("Dense", {"units": 128, "activation": "relu"}),
        ("Dense", {"units": 10, "activation": None}),
    ]
    assert layers(networks["lenet5"])[0][1]["padding"] == "valid"
    assert [kind for kind, _ in layers(networks["mlp_mnist"])] == ["Flatten", "Dense", "Dense", "Dense"]
    with pytest.raises(ValueError, match="must be given as layers"):
        layers(networks["resnet20"])


@pytest.mark.parametrize("name", ["lenet5", "cnn_cifar"])
def test_onnx_graph_computes_pytorchs_logits(name, tmp_path):
    torch = pytest.importorskip("torch")
    F, peer, networks = torch.nn.functional, module("peers.onnxruntime_inference"), module("_networks")
    known = networks.NETWORKS[name]
    inputs = torch.randn(3, known.in_channels, known.image_size, known.image_size)
    peer.write_case(tmp_path / "case.npz", networks.create(name), inputs)
    with np.load(tmp_path / "case.npz", allow_pickle=False) as file:
        values = {key: torch.from_numpy(file[key]) for key in file}
    # The nodes, run one after the other with the meaning that the ONNX standard gives them.
    meaning = {
        "Conv": lambda x, w, b, pads: F.conv2d(x, w, b, padding=pads[0]),
        "Relu": F.relu,
        "MaxPool": lambda x, kernel_shape, strides: F.max_pool2d(x, kernel_shape, strides),
        "Flatten": lambda x: x.flatten(1),
        "Gemm": lambda x, w, b, transB: x @ (w.T if transB else w) + b,
    }
    expected = values.pop("logits")
    for operator, sources, output, attributes in peer.onnx_nodes(known):
        assert output not in values
        values[output] = meaning[operator](*(values[source] for source in sources), **attributes)
    torch.testing.assert_close(values["logits"], expected, rtol=1e-4, atol=1e-5)


def test_onnx_peer_wants_a_case(capsys):
    with pytest.raises(SystemExit) as left:
        module("peers.onnxruntime_inference").main([])
    assert left.value.code == 2
    assert "give --case FILE" in capsys.readouterr().err
