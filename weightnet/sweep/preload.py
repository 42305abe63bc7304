"""What the process that workers are forked from imports, once for all of them.

That takes seconds. Should its parent end meanwhile (of a mistake, or killed), it ends as well; afterwards the standard
library sees to that.
"""

import os
import threading
from contextlib import suppress
from importlib import import_module


def _follow(parent: int, imported: threading.Event) -> None:
    """End this process when its parent ends before all is imported."""
    while os.getppid() == parent:
        if imported.wait(0.1):
            return
    os._exit(1)


imported = threading.Event()
parent = int(os.environ.pop("WEIGHTNET_PARENT", os.getppid()))  # who may have ended before this began
follower = threading.Thread(target=_follow, args=(parent, imported), daemon=True)
follower.start()
with suppress(Exception):  # what is wrong with somebody's code shows again, and is reported, where a run needs it
    for module in ("weightnet.runs.job", "weightnet.sweep.workers"):
        import_module(module)
imported.set()
follower.join()  # what is forked must have no thread
