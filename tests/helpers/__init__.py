"""What several tests share; benchmarks draw on it too."""
