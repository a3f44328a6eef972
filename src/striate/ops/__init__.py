"""The operations of convolutional networks, defined in NumPy: forward, backward, shape, cost and working of each.

Everything public is here; each operation has a file of its own, which says what it is. Some files bear the name of a
function (`softmax`): ``from striate.ops.softmax import ...`` is the file, ``striate.ops.softmax`` the function.
"""

from __future__ import annotations

from striate.ops.absolute_error import *
from striate.ops.activation import *
from striate.ops.adam import *
from striate.ops.adaptive_pooling import *
from striate.ops.average_pooling import *
from striate.ops.binary_loss import *
from striate.ops.combination import *
from striate.ops.comparison import *
from striate.ops.convolution import *
from striate.ops.convolution_forms import *
from striate.ops.dense import *
from striate.ops.divergence import *
from striate.ops.dropout import *
from striate.ops.elementwise import *
from striate.ops.encoding import *
from striate.ops.flipping import *
from striate.ops.fourier import *
from striate.ops.global_pooling import *
from striate.ops.group_normalization import *
from striate.ops.im2col import *
from striate.ops.information import *
from striate.ops.initialization import *
from striate.ops.interpolation import *
from striate.ops.learned_activation import *
from striate.ops.local_response import *
from striate.ops.loss import *
from striate.ops.lp_pooling import *
from striate.ops.matmul import *
from striate.ops.max_pooling import *
from striate.ops.metric import *
from striate.ops.normalization import *
from striate.ops.op import *
from striate.ops.optimizer import *
from striate.ops.penalty import *
from striate.ops.reduction import *
from striate.ops.reshaping import *
from striate.ops.slicing import *
from striate.ops.smooth_activation import *
from striate.ops.softmax import *
from striate.ops.squared_error import *
from striate.ops.stacking import *
from striate.ops.tiled_convolution import *
from striate.ops.transposed_convolution import *
from striate.ops.true_convolution import *
from striate.ops.variance import *
from striate.ops.weighted_pooling import *
from striate.ops.winograd import *
from striate.ops.working import *
