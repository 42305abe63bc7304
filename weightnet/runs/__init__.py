"""One run, on disk and in execution. It knows the science by `weightnet.experiment` alone."""
