"""The demo: four releases of a small ranker, before your eyes, with nothing faked but the users' taste.

``make demo`` trains models on scikit-learn's handwritten digits, starts a cluster of its own
(:mod:`localcluster`), and releases one version after the other through ModelRollout while simulated users
look for digits, wait for answers and click. :mod:`demo.story` is the script; everything else is stage.
"""
