"""What serving needs of the native engine beside its latency: threads, plans that change, "auto", memory, AVX2 alone.

    python -m bench.serving --folder NETS threads plans auto memory avx2 layers

Every part alternates what it compares, writes ``results/serving_PART.json``, and needs a quiet core (``threads``: two).
"""
