"""The one error of a program that is not legal."""


class ProgramError(ValueError):
    """A program that is not well formed, or cannot be proved free of overflow; names the instruction and the value."""


def require(legal: bool, message: str) -> None:
    """Raise ProgramError with ``message`` unless ``legal``."""
    if not legal:
        raise ProgramError(message)
