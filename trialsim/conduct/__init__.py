"""What acts between truth and publication: one function per flaw, which strength 0 leaves as is."""
