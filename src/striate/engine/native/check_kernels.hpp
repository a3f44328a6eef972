// What each kernel for lanes of images reads and writes, said once more than in the kernel: by loops, tables and operands.
#pragma once

#include "check_normalize.hpp"
#include "check_outer.hpp"
#include "check_pointwise.hpp"
#include "check_pooling.hpp"
#include "check_taps.hpp"
#include "check_training.hpp"
#include "check_winograd.hpp"
