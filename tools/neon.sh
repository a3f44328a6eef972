#!/usr/bin/env bash
# Compiles the native part for 64-bit ARM and runs native_test on an emulated one.
# Debian: apt-get install g++-aarch64-linux-gnu qemu-user
set -euo pipefail
cd "$(dirname "$0")/.."
for program in aarch64-linux-gnu-g++ qemu-aarch64; do
    command -v "$program" >/dev/null || { echo "tools/neon.sh: $program is not installed." >&2; exit 2; }
done
mkdir -p build
cmake -S . -B build/neon -G Ninja -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DSTRIATE_PYTHON_MODULE=OFF -DSTRIATE_NATIVE_TESTS=ON >build/neon.log
cmake --build build/neon
STRIATE_EMULATED=1 qemu-aarch64 -L /usr/aarch64-linux-gnu build/neon/native_test
