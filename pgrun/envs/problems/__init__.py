"""The teaching environments ``pgrun/<Name>-v0``, with their transition tables."""
