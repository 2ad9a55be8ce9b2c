"""What the command lines share: how they start and end, and their flags."""
