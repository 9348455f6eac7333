"""A whole sequence of the DNC as one function with an analytic backward pass."""
