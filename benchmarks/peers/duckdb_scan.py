"""DuckDB's postgres scanner with its defaults: one table to one zstd Parquet file. Arguments: URL, table, file."""

import json
import sys
import time

import duckdb
import duckdb_extensions


def main() -> None:
    """Connecting and loading the extension are not counted."""
    url, table, file = sys.argv[1:]
    connection = duckdb.connect()
    # The extension comes as a wheel, for machines that reach no server of DuckDB's.
    duckdb_extensions.import_extension("postgres_scanner", con=connection)
    connection.sql("LOAD postgres_scanner")
    connection.sql(f"ATTACH '{url}' AS source (TYPE postgres, READ_ONLY)")
    began = time.monotonic()
    connection.sql(f"COPY (SELECT * FROM source.{table}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)")
    seconds = time.monotonic() - began
    rows = connection.sql(f"SELECT count(*) FROM '{file}'").fetchall()[0][0]
    print(json.dumps({"rows": rows, "seconds": seconds}))


if __name__ == "__main__":
    main()
