"""Networks since 2015: residual, densely connected and mobile ones."""

from __future__ import annotations

from striate.models.entry import Deviation, ModelInfo, PrintedCount
from striate.models.papers import HE_2015, HOWARD_2017, HUANG_2016, JORDAN_2024, SANDLER_2018
from striate.models.pretrained import PRETRAINED

_STRIDE_IN_3X3 = Deviation(
    paper="A bottleneck that halves the image does so in its first 1 x 1 convolution.",
    here="In its 3 x 3 convolution (known as version 1.5).",
    why="About half a percent more accurate, and the form of the published torchvision weights.",
)
_HEAD_AVERAGE = Deviation(
    paper="7 x 7 average pooling for 224-pixel images.",
    here="The average of the whole last map, whatever its size.",
    why="The same for 224 pixels, and the network takes images of any size.",
)
_RESNET_INITIALIZATION = Deviation(
    paper="He's normal distribution; the text does not say for fan-in or fan-out.",
    here="Fan-out for convolutions; PyTorch's uniform default for the dense layer.",
    why="As in torchvision; both fans are proposed in He's paper on initialisation.",
)
_SMALL_STEM = Deviation(
    paper="A 7 x 7 convolution of stride 2 and 3 x 3 max pooling of stride 2 before the first block.",
    here="A 3 x 3 convolution of stride 1 and no pooling.",
    why="On images of 32 pixels the published stem leaves maps of 8 before the first block, 1 at the end.",
)

# name, parameters at 1000 classes; the paper prints multiply-adds for these, not parameters.
_IMAGENET_RESNETS = (
    ("resnet18", 11_689_512),
    ("resnet34", 21_797_672),
    ("resnet50", 25_557_032),
    ("resnet101", 44_549_160),
    ("resnet152", 60_192_808),
)
# name, parameters at 10 classes.
_SMALL_STEM_RESNETS = (("resnet18_cifar", 11_173_962), ("resnet34_cifar", 21_282_122), ("resnet50_cifar", 23_520_842))
# depth, parameters, the count of table 6 and the step it is rounded to.
_CIFAR_RESNETS = (
    (20, 269_722, 270_000, 10_000),
    (32, 464_154, 460_000, 10_000),
    (44, 658_586, 660_000, 10_000),
    (56, 853_018, 850_000, 10_000),
    (110, 1_727_962, 1_700_000, 100_000),
)


def _resnet_deviations(name: str) -> tuple[Deviation, ...]:
    is_bottleneck = name.removesuffix("_cifar") in ("resnet50", "resnet101", "resnet152")
    return (
        *((_STRIDE_IN_3X3,) if is_bottleneck else ()),
        *((_SMALL_STEM,) if name.endswith("_cifar") else ()),
        _HEAD_AVERAGE,
        _RESNET_INITIALIZATION,
    )


RESNETS = (
    *(
        ModelInfo(
            name=f"resnet{depth}",
            family="resnet",
            description=f"CIFAR-10 residual network of {depth} layers: three stages of 16, 32 and 64 channels.",
            paper=HE_2015,
            num_params=num_params,
            input_size=(3, 32, 32),
            num_classes=10,
            min_image_size=1,
            paper_num_params=PrintedCount(value=printed, unit=unit, where="table 6"),
            deviations=(_RESNET_INITIALIZATION,),
        )
        for depth, num_params, printed, unit in _CIFAR_RESNETS
    ),
    *(
        ModelInfo(
            name=name,
            family="resnet",
            description=f"ImageNet residual network of {name.removeprefix('resnet')} layers.",
            paper=HE_2015,
            num_params=num_params,
            input_size=(3, 224, 224),
            num_classes=1000,
            min_image_size=1,
            deviations=_resnet_deviations(name),
            pretrained=PRETRAINED[name],
        )
        for name, num_params in _IMAGENET_RESNETS
    ),
    *(
        ModelInfo(
            name=name,
            family="resnet",
            description=f"{name.removesuffix('_cifar').replace('resnet', 'ResNet-')} with a stem for small images.",
            paper=HE_2015,
            num_params=num_params,
            input_size=(3, 32, 32),
            num_classes=10,
            min_image_size=1,
            deviations=_resnet_deviations(name),
        )
        for name, num_params in _SMALL_STEM_RESNETS
    ),
)

# layers, growth rate, parameters, the count the paper prints: the text gives it for one network only
_DENSENETS = (
    (121, 32, 7_978_856, None),
    (169, 32, 14_149_480, None),
    (201, 32, 20_013_928, PrintedCount(value=20_000_000, unit=1_000_000, where="section 4.4, '20M parameters'")),
    (161, 48, 28_681_000, None),
)
_DENSENET_161 = Deviation(
    paper="Table 1 of the last version has no DenseNet-161; versions before and the authors' code have.",
    here="6, 12, 36 and 24 layers of growth rate 48, 96 channels in the stem.",
    why="Its weights are published.",
)

DENSENETS = tuple(
    ModelInfo(
        name=f"densenet{layers}",
        family="densenet",
        description=f"DenseNet-BC of {layers} layers and growth rate {growth_rate}.",
        paper=HUANG_2016,
        num_params=num_params,
        input_size=(3, 224, 224),
        num_classes=1000,
        min_image_size=29,
        paper_num_params=printed,
        deviations=(*((_DENSENET_161,) if layers == 161 else ()), _HEAD_AVERAGE),
        pretrained=PRETRAINED[f"densenet{layers}"],
    )
    for layers, growth_rate, num_params, printed in _DENSENETS
)

_MOBILENET_INITIALIZATION = Deviation(
    paper="Starting weights are not described.",
    here="He's normal distribution over fan-out for convolutions, deviation 0.01 for the dense layer.",
    why="As in torchvision.",
)
_V2_DEVIATIONS = (
    Deviation(
        paper="No dropout is mentioned.",
        here="20 percent before the last layer.",
        why="As in torchvision; `set_dropout` changes it.",
    ),
    Deviation(
        paper="The last layer is a 1 x 1 convolution on the averaged map.",
        here="A dense layer.",
        why="The same computation, and the layer names of the published weights.",
    ),
    _HEAD_AVERAGE,
    _MOBILENET_INITIALIZATION,
)

MOBILENETS = (
    ModelInfo(
        name="mobilenet_v1",
        family="mobilenet",
        description="MobileNet of depthwise separable convolutions, width 1.",
        paper=HOWARD_2017,
        num_params=4_231_976,
        input_size=(3, 224, 224),
        num_classes=1000,
        min_image_size=1,
        paper_num_params=PrintedCount(value=4_200_000, unit=100_000, where="table 8"),
        deviations=(
            Deviation(
                paper="Table 1 prints stride 2 for the last depthwise convolution and leaves its map at 7 x 7.",
                here="Stride 1.",
                why="Only stride 1 keeps the map; the multiply-adds of the paper agree.",
            ),
            _HEAD_AVERAGE,
            _MOBILENET_INITIALIZATION,
        ),
    ),
    ModelInfo(
        name="mobilenet_v2",
        family="mobilenet",
        description="MobileNetV2 of inverted residuals with linear bottlenecks, width 1.",
        paper=SANDLER_2018,
        num_params=3_504_872,
        input_size=(3, 224, 224),
        num_classes=1000,
        min_image_size=1,
        paper_num_params=PrintedCount(value=3_400_000, unit=100_000, where="table 4"),
        deviations=(
            Deviation(
                paper="Table 4 prints 3.4 million parameters.",
                here="3,504,872; 3,470,760 without batch normalisation.",
                why="The layers are those of table 2; what the paper counts and how it rounds is not said.",
            ),
            *_V2_DEVIATIONS,
        ),
        pretrained=PRETRAINED["mobilenet_v2"],
    ),
    ModelInfo(
        name="mobilenet_v2_cifar",
        family="mobilenet",
        description="MobileNetV2 for images of 32 pixels.",
        paper=SANDLER_2018,
        num_params=2_236_682,
        input_size=(3, 32, 32),
        num_classes=10,
        min_image_size=1,
        deviations=(
            Deviation(
                paper="Strides that reduce 224 pixels to 7, a factor of 32.",
                here="Stride 1 in the stem and in the 24-channel stage: a factor of 8, 32 pixels to 4.",
                why="With the published strides, maps of 32-pixel images end at a single pixel.",
            ),
            *_V2_DEVIATIONS,
        ),
    ),
)

_AIRBENCH_DEVIATIONS = (
    Deviation(
        paper="The bias of the whitening layer stops learning after three epochs.",
        here="It learns to the end.",
        why="One thing less to schedule.",
    ),
    Deviation(
        paper="A last 3 x 3 max pooling, and logits divided by 9.",
        here="The maximum of the whole last map, and logits divided by its number of channels.",
        why="The same for 32 pixels, and other sizes work; the factor is that of the author's later code.",
    ),
)
# name, parameters, what it is
_AIRBENCH_SIZES = (
    ("airbench94", 1_972_792, "Network of the CIFAR-10 speed record: whitening, three blocks."),
    ("airbench95", 4_606_520, "The same with 128, 384 and 384 channels, for the next point of accuracy."),
)
AIRBENCHES = tuple(
    ModelInfo(
        name=name,
        family="airbench",
        description=description,
        paper=JORDAN_2024,
        num_params=num_params,
        input_size=(3, 32, 32),
        num_classes=10,
        min_image_size=9,
        deviations=_AIRBENCH_DEVIATIONS,
    )
    for name, num_params, description in _AIRBENCH_SIZES
)

RESIDUAL = (*RESNETS, *DENSENETS, *MOBILENETS, *AIRBENCHES)
