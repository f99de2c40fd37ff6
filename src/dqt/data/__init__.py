"""Data sets, arrays and image files as NumPy arrays. Needs NumPy and Pillow alone, so that programs run without torch."""
