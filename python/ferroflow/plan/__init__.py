"""What a run would do: laws, machines and simulations."""

from ferroflow.plan.laws import (
    Amount,
    Constant,
    Exponential,
    Law,
    LogNormal,
    Normal,
    Observed,
    Trace,
    Uniform,
    Weibull,
)
from ferroflow.plan.simulation import (
    Faults,
    Loss,
    Machine,
    SimulatedRun,
    Simulation,
    recorded,
    simulate,
)

__all__ = [
    "Amount",
    "Constant",
    "Exponential",
    "Faults",
    "Law",
    "LogNormal",
    "Loss",
    "Machine",
    "Normal",
    "Observed",
    "SimulatedRun",
    "Simulation",
    "Trace",
    "Uniform",
    "Weibull",
    "recorded",
    "simulate",
]
