"""One connection: `connection` carries it, `login`, `content` and `commands` obey it."""
