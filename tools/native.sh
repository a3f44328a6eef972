#!/usr/bin/env bash
# Builds the native part beside its Python sources, for the Python of .venv or of $PYTHON; what did not change is kept.
#   tools/native.sh                                    a first time in minutes, then only what changed
#   tools/native.sh -DSTRIATE_ISAS=AVX2                kernels for one instruction set, from now on: a third of the time
#   tools/native.sh -DCMAKE_BUILD_TYPE=RelWithDebInfo  with symbols, from now on
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/_native.sh
configure native -DSTRIATE_OUTPUT="$PWD/src/striate/engine" -DSTRIATE_NATIVE_TESTS=ON "$@"
cmake --build build/native
