#!/usr/bin/env bash
# Runs the native part's tests under sanitizers, each from a build folder of its own.
#   tools/sanitize.sh            both of the following
#   tools/sanitize.sh address    memory and undefined behaviour: native_test, and the tests that pytest marks `native`
#   tools/sanitize.sh thread     races: native_test, and those tests of Python in which PyTorch computes nothing on the way
#                                (its own OpenMP, which is not instrumented, would be reported)
# Kernels are compiled for AVX2 alone on x86-64: the source is the same for all. STRIATE_ISAS="AVX2;AVX512" says otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/_native.sh
export OMP_NUM_THREADS=1
[ "$(uname -m)" != x86_64 ] || STRIATE_ISAS=${STRIATE_ISAS:-AVX2}

sanitized() { # FOLDER SANITIZERS
    configure "$1" -DSTRIATE_SANITIZE="$2" -DSTRIATE_ISAS="${STRIATE_ISAS:-}" -DSTRIATE_NATIVE_TESTS=ON \
        -DSTRIATE_PYTHON_MODULE=ON -DSTRIATE_OUTPUT="$PWD/build/$1" -DCMAKE_BUILD_TYPE=RelWithDebInfo
    cmake --build "build/$1"
}

in_python() { # FOLDER LIBRARY [pytest's arguments]
    local compiler runtime
    compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "build/$1/CMakeCache.txt")
    runtime=$("$compiler" -print-file-name="lib$2.so")
    [ -e "$runtime" ] || runtime=$("$compiler" -print-file-name="libclang_rt.$2-$(uname -m).so")
    # A report is printed beside Python's own output, which --capture=sys lets through, and workers of -n would not.
    LD_PRELOAD="$runtime $("$compiler" -print-file-name=libstdc++.so.6)" PYTHONMALLOC=malloc \
        STRIATE_NATIVE_DIR="$PWD/build/$1" "$PYTHON" -m pytest -q -n 0 --capture=sys -m "native and not slow" "${@:3}"
}

address() {
    sanitized address address,undefined
    export UBSAN_OPTIONS=print_stacktrace=1
    ASAN_OPTIONS=detect_leaks=1 build/address/native_test
    # Python does not free everything at its end, and its own allocator hides what is inside its blocks.
    ASAN_OPTIONS=detect_leaks=0 in_python address asan tests/engine
}

thread() {
    sanitized thread thread
    export TSAN_OPTIONS=halt_on_error=1
    build/thread/native_test
    # Not programs that were changed: parts that threads have each to themselves may then overlap.
    in_python thread tsan tests/engine/test_native.py tests/engine/test_native_programs.py \
        --deselect tests/engine/test_native_programs.py::test_one_number_changed \
        tests/engine/test_inference.py::test_calls_at_the_same_time \
        tests/engine/test_inference.py::test_a_change_while_another_thread_computes_is_not_forgotten
}

for each in "${@:-address thread}"; do
    for sanitizer in $each; do "$sanitizer"; done
done
