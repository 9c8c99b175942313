"""From a Hessian operator and a bound to a step."""
