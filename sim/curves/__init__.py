"""Miss ratios of a recorded trace over the size of a cache, by policy, exact or by simulation."""
