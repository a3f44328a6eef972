#!/usr/bin/env bash
# Runs the native part's tests under sanitizers, each from a build folder of its own.
#   tools/sanitize.sh            both of the following
#   tools/sanitize.sh address    memory and undefined behaviour: native_test, and the tests that pytest marks `native`
#   tools/sanitize.sh thread     races: native_test (PyTorch's own OpenMP, which is not instrumented, would be reported)
# Kernels are compiled for AVX2 alone on x86-64: the source is the same for all. STRIATE_ISAS="AVX2;AVX512" says otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/_native.sh
export OMP_NUM_THREADS=1
[ "$(uname -m)" != x86_64 ] || STRIATE_ISAS=${STRIATE_ISAS:-AVX2}

sanitized() { # FOLDER SANITIZERS [-D...]
    configure "$1" -DSTRIATE_SANITIZE="$2" -DSTRIATE_ISAS="${STRIATE_ISAS:-}" -DSTRIATE_NATIVE_TESTS=ON \
        -DCMAKE_BUILD_TYPE=RelWithDebInfo "${@:3}"
    cmake --build "build/$1"
}

address() {
    sanitized address address,undefined -DSTRIATE_OUTPUT="$PWD/build/address"
    export UBSAN_OPTIONS=print_stacktrace=1
    # Python does not free everything at its end, and its own allocator hides what is inside its blocks.
    export ASAN_OPTIONS=detect_leaks=0
    ASAN_OPTIONS=detect_leaks=1 build/address/native_test
    local compiler runtime
    compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' build/address/CMakeCache.txt)
    runtime=$("$compiler" -print-file-name=libasan.so)
    [ -e "$runtime" ] || runtime=$("$compiler" -print-file-name="libclang_rt.asan-$(uname -m).so")
    LD_PRELOAD="$runtime $("$compiler" -print-file-name=libstdc++.so.6)" PYTHONMALLOC=malloc \
        STRIATE_NATIVE_DIR="$PWD/build/address" "$PYTHON" -m pytest -q -m native tests/engine
}

thread() {
    sanitized thread thread -DSTRIATE_PYTHON_MODULE=OFF
    TSAN_OPTIONS=halt_on_error=1 build/thread/native_test
}

for each in "${@:-address thread}"; do
    for sanitizer in $each; do "$sanitizer"; done
done
