"""Benchmarks: each is run as ``python -m benchmarks.NAME`` from the repository root. See ``benchmarks/README.md``."""
