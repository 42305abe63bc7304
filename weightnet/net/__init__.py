"""What changes a run's numbers, and nothing else: data, network, feedback, training."""
