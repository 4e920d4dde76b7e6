"""The store in a PostgreSQL database, for several machines. Others use `PostgresStore` (extra `postgres`)."""
