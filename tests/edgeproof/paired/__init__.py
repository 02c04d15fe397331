"""The comparison of two versions: statistics, processes, versions and the pytest plugin."""
