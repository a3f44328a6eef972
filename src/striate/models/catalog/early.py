"""Networks before 2012: perceptrons, LeCun's digit networks, and the small CNN of the course texts."""

from __future__ import annotations

from striate.models.entry import Deviation, ModelInfo, PrintedCount
from striate.models.papers import LECUN_1989, LECUN_1998, RUMELHART_1986

_MLP_DEVIATIONS = (
    Deviation(
        paper="Small networks for toy tasks, among them symmetry of a row of bits and family trees.",
        here="Layer widths of the course texts.",
        why="They are the baselines that the course texts measure CNNs against.",
    ),
    Deviation(
        paper="Sigmoid units throughout.",
        here="ReLU in hidden layers, none on the logits.",
        why="Trains faster and does not saturate; the loss applies the softmax.",
    ),
)
# name, what it is for, input size, number of outputs, parameters
_MLPS = (
    ("mlp_boston", "Perceptron 13-8-6-1: one number from the 13 columns of Boston housing.", (13,), 1, 173),
    ("mlp_iris", "Perceptron 4-8-6-3 for the four measurements of Iris.", (4,), 3, 115),
    ("mlp_mnist", "Perceptron 784-128-64-10 for MNIST.", (1, 28, 28), 10, 109_386),
    ("mlp_cifar", "Perceptron 3072-1536-768-384-128-10 for CIFAR-10.", (3, 32, 32), 10, 6_246_410),
)

MLPS = tuple(
    ModelInfo(
        name=name,
        family="mlp",
        description=description,
        paper=RUMELHART_1986,
        num_params=num_params,
        input_size=input_size,
        num_classes=num_classes,
        min_image_size=None if len(input_size) == 1 else 1,
        deviations=_MLP_DEVIATIONS,
    )
    for name, description, input_size, num_classes, num_params in _MLPS
)

LENETS = (
    ModelInfo(
        name="lecun1989",
        family="lenet",
        description="LeCun's zip code network: two 5 x 5 convolutions of stride 2 with a bias for every unit.",
        paper=LECUN_1989,
        num_params=9_760,
        input_size=(1, 16, 16),
        num_classes=10,
        min_image_size=1,
        paper_num_params=PrintedCount(value=9_760, unit=1, where="section 'network architecture'"),
        deviations=(
            Deviation(
                paper="Which 8 of the 12 H1 maps each H2 map sees follows a scheme the text leaves out.",
                here="H2 map m sees the H1 maps m to m + 7, counted modulo 12.",
                why="Balanced: each H1 map feeds 8 H2 maps. The count of parameters is that of the paper.",
            ),
            Deviation(
                paper="Scaled tanh on the ten output units, squared error.",
                here="No tanh on the output: logits for a softmax.",
                why="One loss for all networks; tanh is monotonic, so the predicted class is unchanged.",
            ),
            Deviation(
                paper="Scaled tanh in the hidden layers.",
                here="1.7159 tanh(2x/3), the constants of the 1998 paper.",
                why="The form the authors used later, with +1 and -1 mapped nearly to themselves.",
            ),
        ),
    ),
    ModelInfo(
        name="lenet5_1998",
        family="lenet",
        description="LeNet-5 as published: connection table, trainable subsampling, outputs that measure distance.",
        paper=LECUN_1998,
        num_params=60_000,
        input_size=(1, 32, 32),
        num_classes=10,
        min_image_size=16,
        paper_num_params=PrintedCount(value=60_000, unit=1, where="section II.B, 'trainable free parameters'"),
        deviations=(
            Deviation(
                paper="Output codes are pictures of the printable ASCII characters, shown in figure 3.",
                here="Ten digits drawn anew on the same 7 x 12 grid; fixed random codes beyond ten classes.",
                why="The paper prints no pixel values, and names random codes as the alternative.",
            ),
            Deviation(
                paper="Starting coefficients and biases of the subsampling layers are not given.",
                here="Coefficient 1/4 and bias 0: average pooling.",
                why="Neither layer saturates at the start.",
            ),
            Deviation(
                paper="Output is the squared distance to each code: small means near.",
                here="Minus that distance.",
                why="Logits grow with confidence in every network here; the largest is the predicted class.",
            ),
            Deviation(
                paper="The loss adds a constant 'rubbish' class, log(exp(-j) + sum of exp(-y)).",
                here="Not part of the network; cross-entropy is that loss without the constant.",
                why="One loss for all networks. Without the constant nothing draws the outputs close to a code: "
                "the class still is the nearest code, but training takes more epochs.",
            ),
            Deviation(
                paper="Pixels from -0.1 (white) to 1.175 (black), so that they average about 0.",
                here="Left to the normalisation stored with the run.",
                why="Normalisation belongs to the data, where it is computed from the training images.",
            ),
        ),
    ),
    ModelInfo(
        name="lenet5",
        family="lenet",
        description="LeNet-5 as trained today on 28 x 28 digits: ReLU, max pooling, every map sees every map.",
        paper=LECUN_1998,
        num_params=44_426,
        input_size=(1, 28, 28),
        num_classes=10,
        min_image_size=16,
        paper_num_params=PrintedCount(value=60_000, unit=1, where="section II.B, 'trainable free parameters'"),
        deviations=(
            Deviation(
                paper="60,000 parameters.",
                here="44,426 at the default sizes.",
                why="Smaller images make the first dense layer smaller (30,840 instead of 48,120 parameters).",
            ),
            Deviation(
                paper="Images of 32 x 32: digits of 28 with a border of 2.",
                here="28 x 28 without border.",
                why="The size MNIST comes in, and the form of the course texts.",
            ),
            Deviation(
                paper="Scaled tanh, 1.7159 tanh(2x/3).",
                here="ReLU.",
                why="Trains faster and does not saturate.",
            ),
            Deviation(
                paper="Subsampling: the sum of 2 x 2 pixels times a trained coefficient, plus a bias, then tanh.",
                here="2 x 2 max pooling.",
                why="No parameters, and more accurate.",
            ),
            Deviation(
                paper="Each C3 map sees 3 to 6 of the 6 maps below, by table I.",
                here="Each sees all 6.",
                why="The table saved computation in 1998; without it there is one plain convolution.",
            ),
            Deviation(
                paper="Output measures the distance to fixed 7 x 12 pictures of the characters.",
                here="A dense layer giving logits.",
                why="The usual softmax classifier.",
            ),
            Deviation(
                paper="Weights drawn uniformly from ±2.4 / fan-in.",
                here="PyTorch's default, uniformly from ±1 / sqrt(fan-in).",
                why="Made for tanh; `initialize` offers the others.",
            ),
        ),
    ),
)

CNNS = (
    ModelInfo(
        name="cnn_cifar",
        family="cnn",
        description="The small CNN of the course texts: 3 x 3 convolutions to 32 and 64 channels, dense 4096-128-10.",
        paper=LECUN_1998,
        num_params=545_098,
        input_size=(3, 32, 32),
        num_classes=10,
        min_image_size=4,
        deviations=(
            Deviation(
                paper="LeNet-5: 5 x 5 convolutions without padding, tanh, subsampling, two hidden dense layers.",
                here="3 x 3 convolutions with padding 1, ReLU, 2 x 2 max pooling, one hidden dense layer of 128.",
                why="A network of the course texts in the pattern of the paper, not a network of the paper.",
            ),
        ),
    ),
)

EARLY = (*MLPS, *LENETS, *CNNS)
