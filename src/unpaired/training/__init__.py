"""The training engine: the loop, the step of both players, the state, the schedule, callbacks."""
