"""What a run found, as Markdown tables and as one self-contained page. Reads recorded JSON; runs nothing."""

from dqt.report.page import write_page
from dqt.report.results import Results, ResultsError, load_results, save_results
from dqt.report.tables import markdown

__all__ = ["Results", "ResultsError", "load_results", "markdown", "save_results", "write_page"]
