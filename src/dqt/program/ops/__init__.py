"""The operators of a program: one file, one operator. A new file here is all that a program needs to have a new one."""
