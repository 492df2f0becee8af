"""Compiled twins of the objects behind an update: the same methods, each one call of a kernel.

torch stays the oracle that they are tested against. ``training.build`` makes a run of them where its backend
is ``compiled``; nothing else asks which it is.
"""
