"""``python -m benchmarks.diagnosis``."""

from benchmarks.diagnosis import main

main()
