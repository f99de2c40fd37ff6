"""Settings for every test."""

from hypothesis import settings

# A deadline per example measures how busy the machine is; pytest's own timeout ends a test that hangs.
settings.register_profile("dqt", deadline=None)
settings.load_profile("dqt")
