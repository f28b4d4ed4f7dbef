"""The run folder and the files in it: checkpoints, logs, samples and the report."""
