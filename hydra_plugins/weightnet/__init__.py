"""Hydra plugins: the study sweeper and the local launcher. Hydra executes these modules twice: keep them thin."""
