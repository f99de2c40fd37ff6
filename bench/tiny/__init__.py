"""Exported C of the MLPerf Tiny networks and of ResNet-20: accuracy, flash, RAM and instructions by width."""
