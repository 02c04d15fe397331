"""The platform's own runtime on this machine, and the product's statements run on it."""
