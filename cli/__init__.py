"""The command line, and all that knows Hydra: schema, composing, mistakes in plain words, callbacks."""
