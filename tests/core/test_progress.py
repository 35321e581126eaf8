"""What a process says that it used."""

import subprocess
import sys

import numpy as np
import pytest

from voxhint.core.progress import peak_ram_mb


def test_the_peak_grows_with_what_is_held() -> None:
    before = peak_ram_mb()
    held = np.ones((before + 200) << 17)
    assert before + 200 <= peak_ram_mb() < before + held.nbytes // 2**20 + 100


@pytest.mark.skipif(sys.platform != "linux", reason="the system's own count is told")
def test_the_peak_is_not_that_of_the_process_that_began_this_one() -> None:
    held = np.ones(50_000_000)
    command = "from voxhint.core.progress import peak_ram_mb; print(peak_ram_mb())"
    done = subprocess.run([sys.executable, "-c", command], check=True, stdout=subprocess.PIPE)
    assert 0 < int(done.stdout) < held.nbytes // 2**20 < peak_ram_mb()
