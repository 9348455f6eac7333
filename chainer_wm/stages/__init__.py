"""The stages of a world-model run, each on a folder of its own.

vision -> encode -> model -> controller -> evaluation. A stage reads and writes
only the folders it is given, goes on from its last snapshot, and gives the
same numbers whether it was interrupted or not.
"""
