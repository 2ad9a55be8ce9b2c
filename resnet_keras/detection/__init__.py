"""Detection: Faster R-CNN."""
