"""The drawn world: landscapes by seed in several styles, exact pairs included."""
