"""Networks as people write them: one function each, with its inputs."""
