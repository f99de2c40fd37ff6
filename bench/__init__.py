"""The scripts that print every number of the documents; see README.md beside them."""
