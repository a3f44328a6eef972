"""The papers that the networks of the registry come from."""

from __future__ import annotations

from striate.models.entry import Paper

RUMELHART_1986 = Paper(
    authors="Rumelhart, Hinton, Williams",
    title="Learning representations by back-propagating errors",
    year=1986,
    venue="Nature 323:533-536",
    url="https://doi.org/10.1038/323533a0",
)
LECUN_1989 = Paper(
    authors="LeCun, Boser, Denker, Henderson, Howard, Hubbard, Jackel",
    title="Backpropagation Applied to Handwritten Zip Code Recognition",
    year=1989,
    venue="Neural Computation 1(4):541-551",
    url="https://doi.org/10.1162/neco.1989.1.4.541",
)
LECUN_1998 = Paper(
    authors="LeCun, Bottou, Bengio, Haffner",
    title="Gradient-Based Learning Applied to Document Recognition",
    year=1998,
    venue="Proceedings of the IEEE 86(11):2278-2324",
    url="https://doi.org/10.1109/5.726791",
)
KRIZHEVSKY_2012 = Paper(
    authors="Krizhevsky, Sutskever, Hinton",
    title="ImageNet Classification with Deep Convolutional Neural Networks",
    year=2012,
    venue="NeurIPS 25",
    url="https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html",
)
ZEILER_2013 = Paper(
    authors="Zeiler, Fergus",
    title="Visualizing and Understanding Convolutional Networks",
    year=2013,
    venue="ECCV 2014",
    url="https://arxiv.org/abs/1311.2901",
)
KRIZHEVSKY_2014 = Paper(
    authors="Krizhevsky",
    title="One weird trick for parallelizing convolutional neural networks",
    year=2014,
    venue="arXiv:1404.5997",
    url="https://arxiv.org/abs/1404.5997",
)
SIMONYAN_2014 = Paper(
    authors="Simonyan, Zisserman",
    title="Very Deep Convolutional Networks for Large-Scale Image Recognition",
    year=2014,
    venue="ICLR 2015",
    url="https://arxiv.org/abs/1409.1556",
)
SZEGEDY_2014 = Paper(
    authors="Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich",
    title="Going Deeper with Convolutions",
    year=2014,
    venue="CVPR 2015",
    url="https://arxiv.org/abs/1409.4842",
)
HE_2015 = Paper(
    authors="He, Zhang, Ren, Sun",
    title="Deep Residual Learning for Image Recognition",
    year=2015,
    venue="CVPR 2016",
    url="https://arxiv.org/abs/1512.03385",
)
HUANG_2016 = Paper(
    authors="Huang, Liu, van der Maaten, Weinberger",
    title="Densely Connected Convolutional Networks",
    year=2016,
    venue="CVPR 2017",
    url="https://arxiv.org/abs/1608.06993",
)
HOWARD_2017 = Paper(
    authors="Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam",
    title="MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
    year=2017,
    venue="arXiv:1704.04861",
    url="https://arxiv.org/abs/1704.04861",
)
JORDAN_2024 = Paper(
    authors="Jordan",
    title="94% on CIFAR-10 in 3.29 Seconds on a Single GPU",
    year=2024,
    venue="arXiv:2404.00498",
    url="https://arxiv.org/abs/2404.00498",
)
SANDLER_2018 = Paper(
    authors="Sandler, Howard, Zhu, Zhmoginov, Chen",
    title="MobileNetV2: Inverted Residuals and Linear Bottlenecks",
    year=2018,
    venue="CVPR 2018",
    url="https://arxiv.org/abs/1801.04381",
)
