"""`voxhint doctor`: what this machine can do."""

import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import torch

from voxhint.models.device import cores


def doctor() -> list[tuple[str, str]]:
    """Return what matters of this machine, as pairs of name and value."""
    facts = [
        ("voxhint", version("voxhint")),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("PyTorch", f"{torch.__version__}, MONAI {version('monai')}"),
        ("CPU", f"{cores()} cores for this process, {torch.get_num_threads()} threads of PyTorch"),
        ("GPU", _gpus()),
        ("memory", _memory()),
        ("disk", f"{shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GiB free here"),
    ]
    for name in ("SimpleITK", "nibabel", "pydicom", "scikit-image"):
        facts.append((name, version(name)))
    return facts


def _gpus() -> str:
    if not torch.cuda.is_available():
        return "none that PyTorch can use; training runs on the CPU"
    found = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    return ", ".join(
        f"cuda:{n} {p.name} {p.total_memory / 2**30:.0f} GiB" for n, p in enumerate(found)
    )


def _memory() -> str:
    try:
        pages = Path("/proc/meminfo").read_text("utf-8").splitlines()
    except OSError:
        return "unknown"
    known = dict(line.split(":", 1) for line in pages)
    total, free = (int(known[key].split()[0]) / 2**20 for key in ("MemTotal", "MemAvailable"))
    return f"{total:.0f} GiB, {free:.0f} GiB available"
