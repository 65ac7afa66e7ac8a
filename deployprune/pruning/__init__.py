"""Which channels go: importance, and the planner with its bound."""
