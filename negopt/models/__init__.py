"""What is known about the Hessian at one point, as steps and checks ask for it."""
