"""What a run found, as Markdown tables and as one self-contained page. Reads recorded JSON; runs nothing."""
