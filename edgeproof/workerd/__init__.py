"""The service as a Worker, on the platform's own runtime on this machine."""
