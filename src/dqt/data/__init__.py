"""Data sets, arrays and image files as NumPy arrays. NumPy and Pillow alone: programs run without torch."""
