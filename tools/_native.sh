# What the scripts beside this one share; to be sourced, at the repository's root.
PYTHON=${PYTHON:-.venv/bin/python}

# configure NAME [-D...]: the build folder build/NAME, with Python's nanobind if the module is built.
configure() {
    local name=$1
    shift
    local executable version nanobind
    executable=$("$PYTHON" -c 'import sys; print(sys.executable)')
    version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    nanobind=build/nanobind-$version
    mkdir -p build
    if [ ! -d "$nanobind" ]; then
        "$PYTHON" -m pip install -q --target "$nanobind" "$(grep -o 'nanobind[^"]*' pyproject.toml | head -1)"
    fi
    cmake -S . -B "build/$name" -G Ninja -DPython_EXECUTABLE="$executable" \
        -Dnanobind_DIR="$PWD/$nanobind/nanobind/cmake" "$@" >"build/$name.log" || { cat "build/$name.log"; return 1; }
}
