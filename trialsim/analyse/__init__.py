"""What a look can see: one file per endpoint kind."""
