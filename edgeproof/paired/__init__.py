"""Two versions of a project's benchmarks, timed in turns.

The workers run inside the measured project's process, so nothing here imports another of our
top-level packages: the project may have a `core`, `sim` or `reports` of its own.
"""
