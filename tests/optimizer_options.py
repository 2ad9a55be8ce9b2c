"""Every option of `optimizers.SGD`, alone and all at once, for tests that try one by one."""

OPTIONS = {
    "plain": {},
    "no_momentum": {"momentum": 0.0},
    "nesterov": {"nesterov": True},
    "decayed": {"decayed": "all", "weight_decay": 0.05},
    "accumulate_steps": {"accumulate_steps": 2},
    "clip_norm": {"clip_norm": 0.1},
    "loss_scaling": {"loss_scaling": True},
    "ema": {"ema": 0.6},
}
ALL = {
    "nesterov": True,
    "decayed": "all",
    "accumulate_steps": 2,
    "clip_norm": 0.1,
    "loss_scaling": True,
    "ema": 0.6,
}
OPTIONS["all"] = ALL
