"""Turn a clinical-trial protocol into something you can run.

The way of the data, from the bottom of the house to the top; a module imports only from below::

    errors  streams                  what can go wrong; one seed -> named streams
    protocol | kernels               the file format | arrays in, arrays out
    trial                            the nouns in memory
    generate                         protocol + scenario -> patients and latent outcomes
    analyse                          what a look can see
    engine                           blocks of replicates, on any number of workers
    characteristics                  replicates -> power, bias, ... each with its MCSE
    studies                          one module per question users ask
    figures                          one function per figure
    report                           screens, documents, run directories
    cli                              parse, call, print

Names below are imported when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trialsim.errors import (
        DesignError,
        ProtocolError,
        RequestError,
        SimulationError,
        TrialsimError,
    )
    from trialsim.protocol.reading.load import check_file, load_template
    from trialsim.studies.simulation import plan_simulation
    from trialsim.studies.size.planned import plan_size
    from trialsim.studies.size.question import SizeRequest
    from trialsim.trial import StudyResult

__version__ = "0.1.0"

__all__ = [
    "DesignError",
    "ProtocolError",
    "RequestError",
    "SimulationError",
    "SizeRequest",
    "StudyResult",
    "TrialsimError",
    "check_file",
    "load_template",
    "plan_simulation",
    "plan_size",
]

_HOMES = {
    "DesignError": "trialsim.errors",
    "ProtocolError": "trialsim.errors",
    "RequestError": "trialsim.errors",
    "SimulationError": "trialsim.errors",
    "SizeRequest": "trialsim.studies.size.question",
    "StudyResult": "trialsim.trial",
    "TrialsimError": "trialsim.errors",
    "check_file": "trialsim.protocol.reading.load",
    "load_template": "trialsim.protocol.reading.load",
    "plan_simulation": "trialsim.studies.simulation",
    "plan_size": "trialsim.studies.size.planned",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'trialsim' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
