"""The feedback loop of generative models with their own data: regimes, theory, experiments and verdicts."""

from collapse_utils.loop import Generation, feedback_loop, follow

__all__ = ["Generation", "feedback_loop", "follow"]
