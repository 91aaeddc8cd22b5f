"""The ten promises of the journal, one file each; ``docs/promises.md`` says which test holds which."""
