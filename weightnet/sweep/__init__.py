"""Many runs: composed, planned, executed side by side, reported. It knows the science by `experiment` alone."""
