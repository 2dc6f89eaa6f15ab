"""Question 2: VGG16 and ResNet50 with frozen weights, a trained head, and an honest comparison."""

from hw4.transfer.backbones import (
    BACKBONES,
    build_classifier,
    build_head,
    transplant,
    unfreeze_last_block,
)
from hw4.transfer.collapse import check_head, check_scale, diagnose_collapse
from hw4.transfer.comparison import Comparison, compare, extract_features, fit_head
from hw4.transfer.fine_tuning import fine_tune
from hw4.transfer.scores import table, wilson
from hw4.transfer.scratch import fit_small_cnn, read_grey, small_cnn

__all__ = [
    "BACKBONES",
    "Comparison",
    "build_classifier",
    "build_head",
    "check_head",
    "check_scale",
    "compare",
    "diagnose_collapse",
    "extract_features",
    "fine_tune",
    "fit_head",
    "fit_small_cnn",
    "read_grey",
    "small_cnn",
    "table",
    "transplant",
    "unfreeze_last_block",
    "wilson",
]
