"""What is needed to run the same simulation again, and to tell two runs apart."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

from trialsim import __version__
from trialsim.trial import Kernel, Path

__all__ = ["RunRecord", "identity_sha256"]


def identity_sha256(protocol_sha256: object, seed: object, versions: object) -> str:
    """Hash what makes a run that run."""
    identity = {"protocol": protocol_sha256, "seed": seed, "versions": versions}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class RunRecord:
    """The identity of a run.

    Attributes
    ----------
    protocol : dict
        The resolved protocol, variant and settings merged in.
    seed : int
    evidence : tuple of dict
        Records the run could cite that do not come with the program.
    path : Path
    kernel : Kernel
        How patients are represented and by what they are computed; fixed when a run starts.
    left_out : tuple of str
        Of what the file says of the trial's conduct.
    """

    protocol: dict[str, Any]
    protocol_sha256: str
    seed: int
    evidence: tuple[dict[str, Any], ...] = ()
    path: Path = Path.PATIENTS
    kernel: Kernel = Kernel.NUMPY
    left_out: tuple[str, ...] = ()

    @cached_property
    def versions(self) -> dict[str, str]:
        """Versions that can change a number."""
        return {
            "trialsim": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scipy")},
        }

    @cached_property
    def sha256(self) -> str:
        """Hash of protocol, seed and versions: of nothing that only says how much to run."""
        return identity_sha256(self.protocol_sha256, self.seed, self.versions)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``record.json``."""
        return {
            "format": "trialsim-record/1",
            "sha256": self.sha256,
            "protocol": self.protocol,
            "protocol_sha256": self.protocol_sha256,
            "seed": self.seed,
            "evidence": list(self.evidence),
            "path": self.path.value,
            "kernel": self.kernel.value,
            "kernel_version": version(self.kernel.value),
            "versions": self.versions,
            **({"left_out": list(self.left_out)} if self.left_out else {}),
        }
