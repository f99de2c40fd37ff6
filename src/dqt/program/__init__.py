"""What an integer program is, how it is checked, stored and, slowly and normatively, executed."""
