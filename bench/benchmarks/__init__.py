"""Micro-benchmarks: each builds outside, measures one call and asserts its answer."""
