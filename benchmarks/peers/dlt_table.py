"""dlt's `sql_table` into Parquet files in a folder. Arguments: URL, table, folder, backend, its arguments as JSON."""

import json
import os
import sys
import time
from pathlib import Path

os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "DATA_WRITER__COMPRESSION": "zstd", "RUNTIME__LOG_LEVEL": "ERROR"}

import dlt  # type: ignore[import-not-found]
import pyarrow.parquet as pq
from dlt.sources.sql_database import sql_table  # type: ignore[import-not-found]


def main() -> None:
    """The whole `run` counts: extract, normalize and load; imports do not."""
    url, table, folder, backend, arguments = sys.argv[1:]
    target = Path(folder)
    pipeline = dlt.pipeline(
        f"benchmark_{backend}",
        destination=dlt.destinations.filesystem(bucket_url=(target / "out").as_uri()),
        dataset_name="benchmark",
        pipelines_dir=str(target / "pipelines"),
    )
    began = time.monotonic()
    source = sql_table(credentials=url, table=table, backend=backend, **json.loads(arguments))
    pipeline.run(source, loader_file_format="parquet")
    seconds = time.monotonic() - began
    files = [pq.ParquetFile(path).metadata for path in (target / "out").rglob(f"{table}/*.parquet")]
    codecs = {file.row_group(0).column(0).compression for file in files}
    print(json.dumps({"rows": sum(file.num_rows for file in files), "seconds": seconds, "codecs": sorted(codecs)}))


if __name__ == "__main__":
    main()
