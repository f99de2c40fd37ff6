"""The operators of a prepared network: one file, one operator, as in :mod:`dqt.program.ops`."""
