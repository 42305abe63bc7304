"""Hydra plugins: sweeper, launchers, where YAML is sought. Hydra executes these modules twice: keep them thin."""
