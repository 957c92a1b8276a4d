"""Which published numbers belong together, and whether they can be right together.

Some belong together by what they are: counts and an odds ratio, an interval and a P value. The
others a record declares under `checks:`. Every finding is about figures; what one that fits
nothing means (a slip, another model, a misprint) arithmetic cannot say.
"""
