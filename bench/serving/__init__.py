"""What serving needs of the native engine beside its latency: threads, plans that change, "auto", memory, AVX2 alone,
where the time goes, what fewer bits cost.

    python -m bench.serving --folder NETS threads plans auto memory avx2 layers widths

Every part alternates what it compares, writes ``results/serving_PART.json``, and needs a quiet core (``threads``: two).
"""
