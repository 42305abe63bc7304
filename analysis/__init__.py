"""From run folders to tables, figures and a status view. Reads `metrics.csv`, `run.json` and `config.yaml` only."""
