"""A data subject's access package: everything about their calls in one archive, which exists only encrypted.

`cells` makes hostile text harmless, `csvtable` and `xlsx` write tables of it, `cover` says in plain words what there is and
what is not, `sources` finds the audio, `archive` streams it all into one age file under a one-time passphrase, `package`
puts them together (docs/spec/access-package.md).
"""
