"""`classification.metrics` by its short name."""

from .classification.metrics import CrossEntropy, cross_entropy, top1_error, top5_error

__all__ = ["CrossEntropy", "cross_entropy", "top1_error", "top5_error"]
