"""Question 2: wrist radiographs, found, checked, split by patient, streamed; and their phantom."""

from hw4.radiographs.dataset import DataError, Radiographs, load
from hw4.radiographs.phantom import write_phantom
from hw4.radiographs.splits import leakage

__all__ = ["DataError", "Radiographs", "leakage", "load", "write_phantom"]
