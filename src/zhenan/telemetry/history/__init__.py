"""History: every reading once, in a Delta Lake table that Spark, Trino or DuckDB read as well."""
