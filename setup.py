"""Puts conf/ into an installed package; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConf(build_py):
    """The modules, and the YAML files, which a checkout has beside the package, inside of it."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            shutil.copytree("conf", Path(self.build_lib, "weightnet", "conf"), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithConf})
