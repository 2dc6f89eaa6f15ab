"""Question 2: VGG16 and ResNet50 with frozen weights, a trained head, and an honest comparison."""

from hw4.transfer.backbones import BACKBONES
from hw4.transfer.collapse import check_head, diagnose_collapse
from hw4.transfer.comparison import (
    compare,
    compare_preprocessing,
    explain,
    folds,
    from_scratch,
)
from hw4.transfer.features import extract_features
from hw4.transfer.fitting import (
    fine_tune,
    fit_head,
    fit_small_cnn,
    probabilities,
    read_grey,
)
from hw4.transfer.networks import (
    build_classifier,
    build_head,
    small_cnn,
    split_at_last_block,
    transplant,
    unfreeze_last_block,
)
from hw4.transfer.preprocessing import PREPROCESSING, check_scale
from hw4.transfer.scores import (
    Result,
    balanced_accuracy,
    detection,
    interval_text,
    paired,
    pointing,
    pooled,
    table,
)
from hw4.transfer.weights import NotAvailable, find

__all__ = [
    "BACKBONES",
    "PREPROCESSING",
    "NotAvailable",
    "Result",
    "balanced_accuracy",
    "build_classifier",
    "build_head",
    "check_head",
    "check_scale",
    "compare",
    "compare_preprocessing",
    "detection",
    "diagnose_collapse",
    "explain",
    "extract_features",
    "find",
    "fine_tune",
    "fit_head",
    "fit_small_cnn",
    "folds",
    "from_scratch",
    "interval_text",
    "paired",
    "pointing",
    "pooled",
    "probabilities",
    "read_grey",
    "small_cnn",
    "split_at_last_block",
    "table",
    "transplant",
    "unfreeze_last_block",
]
