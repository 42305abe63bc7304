"""YAML beside the user's work: `./conf` of the working directory is found without being named."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from weightnet.sweep.conf_folders import users_folders


class UsersFolders(SearchPathPlugin):
    """Adds the user's own folders of YAML after ours."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append them."""
        for folder in users_folders():
            search_path.append(provider="weightnet-user", path=f"file://{folder}")
