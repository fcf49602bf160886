"""The version of the package, for all who note it beside what they write."""

__version__ = "0.1.0"
