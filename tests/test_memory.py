import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from weightnet.experiment import keep_freed_memory
keep_freed_memory()
torch.set_num_threads(1)
def use():
    blocks = [torch.ones(2_000_000) for _ in range(4)]  # 8 MB each
for _ in range(10):
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the heap of other systems is left alone")
def test_memory_that_is_taken_again_needs_no_new_pages() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000  # without: 155,600 in most processes, depending on what lies at the heap's end
