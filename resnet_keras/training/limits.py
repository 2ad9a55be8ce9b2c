"""What schedules, the optimizer and replicas refuse, known from numbers alone; no Keras.

The library calls these where something is made, and the commands before TensorFlow is imported.
"""

from collections.abc import Sequence

from resnet_keras.errors import InputError, unknown

DECAYED = ("kernels", "all")
DECAYS = {"cosine": "Cosine", "poly": "Polynomial"}  # schedules that end with the run
STRATEGIES = ("mirrored", "one_device", "multi_worker")


def check_boundaries(boundaries: Sequence[int]) -> None:
    """Raises `InputError` unless steps are positive and increase."""
    if list(boundaries) != sorted(set(boundaries)) or any(b < 1 for b in boundaries):
        increasing = sorted({b for b in boundaries if b > 0})
        raise InputError(
            f"Boundaries must be positive and increase, not boundaries={list(boundaries)}: take "
            f"boundaries={increasing}."
        )


def check_cosine(
    steps: int, warmup_steps: int, name: str = "total_steps", decay: str = "Cosine"
) -> None:
    """Raises `InputError` where a cosine, or another decay, has no steps left after the warm-up.

    Args:
        steps: where the cosine ends.
        warmup_steps: of a linear warm-up inside them.
        name: what the caller calls `steps`.
        decay: its name, for the message.
    """
    if not 0 <= warmup_steps < steps:
        raise InputError(
            f"{decay} decay needs more steps than warm-up, not {name}={steps} with "
            f"warmup_steps={warmup_steps}: take warmup_steps={max(steps, 0) // 10}, for example."
        )


def check_schedule(
    schedule: str,
    *,
    train_steps: int,
    boundaries: Sequence[int] = (),
    warmup_steps: int = 0,
    warmup_until_error: float = 0.0,
) -> None:
    """Refuses arguments of a schedule that contradict each other.

    Args:
        schedule: "step", "cosine", "poly" or "plateau".
        train_steps: where a run ends, and a cosine or polynomial with it.
        boundaries: of "step".
        warmup_steps: of a linear warm-up.
        warmup_until_error: training error that ends the warm-up of ResNet-110; 0 for none.

    Raises:
        InputError: as said.
    """
    if boundaries and schedule != "step":
        raise InputError(
            f'`boundaries` belong to schedule="step", not to schedule="{schedule}": take '
            "boundaries=[] (none)."
        )
    if schedule == "plateau" and warmup_until_error:
        raise InputError(
            'warmup_until_error cannot be combined with schedule="plateau": take '
            'warmup_until_error=0, or schedule="step".'
        )
    check_boundaries(boundaries)
    if schedule in DECAYS:
        check_cosine(train_steps, warmup_steps, "train_steps", DECAYS[schedule])


def check_sgd(
    *,
    decayed: str = "kernels",
    weight_decay: float = 0.0,
    accumulate_steps: int = 1,
    clip_norm: float | None = None,
    ema: float = 0.0,
) -> None:
    """Raises `InputError` for arguments of `optimizers.SGD` that are out of range."""
    if decayed not in DECAYED:
        raise InputError(f"`decayed` must be 'kernels' or 'all', not {decayed!r}.")
    if not weight_decay >= 0:
        raise InputError(f"weight_decay must not be negative, but is {weight_decay!r}.")
    if accumulate_steps < 1:
        raise InputError(f"accumulate_steps must be positive, not {accumulate_steps!r}.")
    if clip_norm is not None and not clip_norm > 0:
        raise InputError(
            f"clip_norm must be positive, not {clip_norm!r}: leave it out to clip nothing."
        )
    if not 0 <= ema < 1:
        raise InputError(f"`ema` must be in [0, 1), not {ema!r}: take ema=0.9999, for example.")


def check_strategy(name: str, logical_cpus: int = 1) -> None:
    """Raises `InputError` for a strategy that there is not, or that splits no CPU."""
    if name not in STRATEGIES:
        raise unknown("strategy", name, STRATEGIES)
    if logical_cpus > 1 and name != "mirrored":
        raise InputError(
            f"logical_cpus={logical_cpus} are replicas of strategy=mirrored, not of {name}: take "
            "logical_cpus=1."
        )


def check_batch(batch_size: int, replicas: int, accumulate_steps: int = 1) -> None:
    """Raises `InputError` for a global batch that cannot be shared out equally.

    Args:
        batch_size: images in a global batch.
        replicas: that share it, or a number that divides theirs.
        accumulate_steps: parts of each replica's share.
    """
    parts = replicas * accumulate_steps
    larger = -(-batch_size // parts) * parts
    if batch_size % parts:
        among = f"{replicas} replicas" if replicas > 1 else "1 replica"
        steps = f" in accumulate_steps={accumulate_steps}" if accumulate_steps > 1 else ""
        raise InputError(
            f"A global batch of batch_size={batch_size} cannot be split equally among {among}"
            f"{steps}: take a multiple of {parts}, such as batch_size={larger}."
        )


def check_xla(strategy: str, jit_compile: bool) -> None:
    """Raises `InputError` for XLA under mirrored replicas, which Keras does not compile."""
    if jit_compile and strategy != "one_device":
        raise InputError(
            "XLA does not compile mirrored replicas: take strategy=one_device, or "
            "jit_compile=False."
        )
