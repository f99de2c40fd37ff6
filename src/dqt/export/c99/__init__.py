"""A program as C99: the library of operators (``*.c``) and what writes a program's calls of it."""
