"""The engine beside other int8 engines, by kind of processor: time, memory, loading, and how often answers are exact.

    python -m bench.peers --folder NETS --data DIR --weights DIR      every row that the record of this processor lacks
    python -m bench.peers --folder NETS ... --again times load        these measured anew
    python -m bench.peers --folder NETS ... --only prepare            the networks alone, which take longest

Each row is written when it is measured, so that an interrupted run goes on with the same command. All contestants of a
row run on one core in turns, and a ratio compares times of one round. Networks have trained weights where ``--weights``
or an installed package brings them, otherwise random ones. A program is given to the others as the same integers (QDQ
form, tflite). Where LiteRT has no form of it (hard swish, attention), the others also get the float model as ONNX
Runtime's own tools quantize it, and the fastest of all forms counts.
"""
