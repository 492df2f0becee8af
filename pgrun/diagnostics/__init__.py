"""What a run measures of itself: the variance of the gradient, KL, local models,
errors against exact values.
"""
