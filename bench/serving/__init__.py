"""Measurements of the native engine beside latency: threads, changed width plans, "auto", memory, AVX2, layers, widths.

    python -m bench.serving --folder NETS threads plans auto memory avx2 layers widths

Every part runs its alternatives in turns, writes ``results/serving_PART.json`` and needs a quiet core (``threads``: 2).
"""
