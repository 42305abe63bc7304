"""Measurements: each module is a command, and its docstring says which document holds its table."""
