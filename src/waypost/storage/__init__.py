"""The durable truth: schema, committer, and one module of statements per noun."""
