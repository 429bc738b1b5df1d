"""What `seqeval new` fills in: `@NAME@` is the name of a package, `@CLASS@` that of its class."""
