"""hw4: a deep-learning homework that proves itself.

Importing this package loads nothing heavy. Each module is one idea; DESIGN in a line:
leaves compute (`conv_shapes`, `batch_norm`, `grad_cam`, `claims`), notebooks put them together.
"""

__version__ = "0.1.0"
