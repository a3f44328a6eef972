"""Networks from 2012 to 2014: AlexNet, ZFNet, VGG and GoogLeNet."""

from __future__ import annotations

from striate.models.entry import Deviation, ModelInfo, PrintedCount
from striate.models.papers import KRIZHEVSKY_2012, KRIZHEVSKY_2014, SIMONYAN_2014, SZEGEDY_2014, ZEILER_2013
from striate.models.pretrained import PRETRAINED

_IMAGENET = (3, 224, 224)

_INVERTED_DROPOUT = Deviation(
    paper="Dropout leaves outputs as they are in training and halves them in use.",
    here="Doubles those that stay in training and changes nothing in use.",
    why="The same in expectation, and PyTorch's form of dropout.",
)

ALEXNETS = (
    ModelInfo(
        name="alexnet_2012",
        family="alexnet",
        description="AlexNet as published: two towers, response normalisation, channels 96-256-384-384-256.",
        paper=KRIZHEVSKY_2012,
        num_params=60_965_224,
        input_size=_IMAGENET,
        num_classes=1000,
        min_image_size=63,
        paper_num_params=PrintedCount(value=60_000_000, unit=10_000_000, where="abstract, '60 million parameters'"),
        deviations=(
            Deviation(
                paper="Each tower on a GPU of its own, the inputs of the third convolution exchanged between them.",
                here="One network; the towers are two groups of channels.",
                why="The same connections; one device holds it today.",
            ),
            Deviation(
                paper="Images of 224 pixels and maps of 55, which 11 x 11 kernels of stride 4 do not give.",
                here="2 pixels of padding before the first convolution.",
                why="The common reading that makes the sizes of figure 2 come out.",
            ),
            Deviation(
                paper="Whether normalisation sums over neighbours in the other tower is not said.",
                here="It does, for the four maps at the border between the towers.",
                why="One layer over all maps; equation of section 3.3 as printed.",
            ),
            _INVERTED_DROPOUT,
        ),
    ),
    ModelInfo(
        name="alexnet",
        family="alexnet",
        description="AlexNet in one column, channels 64-192-384-256-256: the form of the published weights.",
        paper=KRIZHEVSKY_2014,
        num_params=61_100_840,
        input_size=_IMAGENET,
        num_classes=1000,
        min_image_size=63,
        deviations=(
            Deviation(
                paper="Response normalisation as in the network of 2012, which it is a variation of.",
                here="None.",
                why="As in torchvision, whose weights it takes.",
            ),
            Deviation(
                paper="1000 independent logistic units as output.",
                here="Logits for a softmax.",
                why="One loss for all networks; the paper calls the two equivalent in accuracy.",
            ),
            Deviation(
                paper="Dense layers on maps of 6 x 6 pixels.",
                here="Average pooling to 6 x 6 before them, which changes nothing at 224 pixels.",
                why="The network takes images of other sizes with the same weights.",
            ),
            Deviation(
                paper="Dropout on the outputs of the hidden dense layers, as in 2012.",
                here="On their inputs: after the last pooling and after the first dense layer.",
                why="As in torchvision, whose weights it takes.",
            ),
            Deviation(
                paper="Normal starting weights of deviation 0.01 and some biases of 1, as in 2012.",
                here="PyTorch's default, uniform from ±1 / sqrt(fan-in).",
                why="As in torchvision.",
            ),
        ),
        pretrained=PRETRAINED["alexnet"],
    ),
)

ZFNETS = (
    ModelInfo(
        name="zfnet",
        family="zfnet",
        description="ZFNet: AlexNet with a first layer of 7 x 7 and stride 2, in one column.",
        paper=ZEILER_2013,
        num_params=62_357_608,
        input_size=_IMAGENET,
        num_classes=1000,
        min_image_size=47,
        deviations=(
            Deviation(
                paper="Weights start at 0.01, which cannot be meant literally.",
                here="Normally distributed with deviation 0.01, as AlexNet's; biases 0.",
                why="Equal weights would never become different.",
            ),
            Deviation(
                paper="Contrast normalisation across feature maps, without constants or formula.",
                here="AlexNet's response normalisation over 5 maps.",
                why="The paper builds on AlexNet.",
            ),
            Deviation(
                paper="Maps of 110, 55, 26, 13 and 6 pixels; padding and rounding not given.",
                here="1 pixel of padding before the first convolution, poolings that round up.",
                why="The choice that makes the sizes of figure 3 come out.",
            ),
            Deviation(
                paper="First-layer filters of root mean square above 0.1 are scaled back to it while training.",
                here="Left out.",
                why="It belongs to training, not to the network.",
            ),
            _INVERTED_DROPOUT,
        ),
    ),
)

_VGG_DEVIATIONS = (
    Deviation(
        paper="Dense layers on maps of 7 x 7 pixels.",
        here="Average pooling to 7 x 7 before them, which changes nothing at 224 pixels.",
        why="The network takes images of other sizes with the same weights.",
    ),
    Deviation(
        paper="Normal starting weights of variance 0.01; deep networks start from the trained layers of network A.",
        here="He's normal distribution over fan-out for convolutions, deviation 0.01 for dense layers.",
        why="Trains from scratch; the paper says later that Glorot's scheme would have done, too.",
    ),
    _INVERTED_DROPOUT,
)
_VGG_BATCH_NORM = Deviation(
    paper="No normalisation.",
    here="Batch normalisation after every convolution.",
    why="Published a year later; trains faster and more accurately. The plain network is there as well.",
)
# layers, column of table 1, parameters, parameters with batch normalisation, millions printed in table 2
_VGGS = (
    (11, "A", 132_863_336, 132_868_840, 133),
    (13, "B", 133_047_848, 133_053_736, 133),
    (16, "D", 138_357_544, 138_365_992, 138),
    (19, "E", 143_667_240, 143_678_248, 144),
)


def _vgg(layers: int, column: str, num_params: int, millions: int, *, batch_norm: bool) -> ModelInfo:
    name = f"vgg{layers}_bn" if batch_norm else f"vgg{layers}"
    return ModelInfo(
        name=name,
        family="vgg",
        description=f"VGG of {layers} layers (column {column}){' with batch normalisation' if batch_norm else ''}.",
        paper=SIMONYAN_2014,
        num_params=num_params,
        input_size=_IMAGENET,
        num_classes=1000,
        min_image_size=32,
        paper_num_params=PrintedCount(value=millions * 1_000_000, unit=1_000_000, where="table 2"),
        deviations=(*((_VGG_BATCH_NORM,) if batch_norm else ()), *_VGG_DEVIATIONS),
        pretrained=PRETRAINED[name],
    )


VGGS = (
    *(_vgg(layers, column, plain, millions, batch_norm=False) for layers, column, plain, _, millions in _VGGS),
    *(_vgg(layers, column, norm, millions, batch_norm=True) for layers, column, _, norm, millions in _VGGS),
)

# Table 1, column "params", main network: 2.7 + 112 + 159 + 380 + 364 + 437 + 463 + 580 + 840 + 1072 + 1388 + 1000 K.
_TABLE_1_SUM = PrintedCount(value=6_797_700, unit=100, where="sum of table 1, main network")

GOOGLENETS = (
    ModelInfo(
        name="googlenet_2014",
        family="googlenet",
        description="GoogLeNet as published: 5 x 5 branches, response normalisation, both auxiliary heads.",
        paper=SZEGEDY_2014,
        num_params=13_378_280,
        input_size=_IMAGENET,
        num_classes=1000,
        min_image_size=79,
        paper_num_params=_TABLE_1_SUM,
        deviations=(
            Deviation(
                paper="Table 1 adds up to 6.8 million parameters, without biases and auxiliary heads.",
                here="6,998,552 with biases, and 13,378,280 with both auxiliary heads.",
                why="The shapes are those of the table; its column of counts is up to 7 percent off them, "
                "and its first row prints 2.7K where 7 x 7 x 3 x 64 weights are 9.4K.",
            ),
            Deviation(
                paper="Response normalisation without constants.",
                here="Over 5 maps, alpha 1e-4, beta 0.75, k 1.",
                why="The usual constants of the time.",
            ),
            Deviation(
                paper="Starting weights are not described.",
                here="Glorot's uniform distribution, biases 0.2.",
                why="Without batch normalisation the signal must survive 22 layers.",
            ),
            Deviation(
                paper="7 x 7 average pooling before the last layer.",
                here="The average of the whole last map.",
                why="The same at 224 pixels, and works for other sizes.",
            ),
            _INVERTED_DROPOUT,
        ),
    ),
    ModelInfo(
        name="googlenet",
        family="googlenet",
        description="GoogLeNet in the form of torchvision: batch normalisation, no 5 x 5 kernels.",
        paper=SZEGEDY_2014,
        num_params=13_004_888,
        input_size=_IMAGENET,
        num_classes=1000,
        min_image_size=15,
        paper_num_params=_TABLE_1_SUM,
        deviations=(
            Deviation(
                paper="Table 1 adds up to 6.8 million parameters, without biases and auxiliary heads.",
                here="6,624,904 without and 13,004,888 with the auxiliary heads.",
                why="3 x 3 kernels for 5 x 5, and batch normalisation for biases.",
            ),
            Deviation(
                paper="A branch of 5 x 5 convolutions in every Inception module.",
                here="3 x 3 in its place.",
                why="A slip in the port that the published weights were trained with.",
            ),
            Deviation(
                paper="No batch normalisation; response normalisation in the stem.",
                here="Batch normalisation after every convolution, no response normalisation.",
                why="The form of the published weights.",
            ),
            Deviation(
                paper="3 x 3 max pooling before module 5a.",
                here="2 x 2.",
                why="The form of the published weights; the map sizes are the same.",
            ),
            Deviation(
                paper="Auxiliary heads: 5 x 5 average pooling of stride 3.",
                here="Average pooling to 4 x 4, whatever the size of the image.",
                why="The same shape at 224 pixels, and small images fit.",
            ),
            Deviation(
                paper="40 percent dropout before the last layer.",
                here="20 percent.",
                why="The form of the published weights.",
            ),
            Deviation(
                paper="Input: pixels minus the mean.",
                here="Three-channel input is rescaled from ImageNet's normalisation to -1 to 1, always.",
                why="The published weights need it; always, so that name and weights alone define the network.",
            ),
            Deviation(
                paper="Starting weights are not described.",
                here="Normal of deviation 0.01, cut at ±2.",
                why="As in torchvision.",
            ),
            Deviation(
                paper="7 x 7 average pooling before the last layer.",
                here="The average of the whole last map.",
                why="The same at 224 pixels, and works for other sizes.",
            ),
            _INVERTED_DROPOUT,
        ),
        pretrained=PRETRAINED["googlenet"],
    ),
)

DEEP = (*ALEXNETS, *ZFNETS, *VGGS, *GOOGLENETS)
