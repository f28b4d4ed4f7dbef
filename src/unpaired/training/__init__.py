"""The training loop and everything a run leaves behind: checkpoints, log, samples, report."""
