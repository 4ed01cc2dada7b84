"""One extract by Python, in a process of its own: prints its time, processor time, rows and memory as JSON.

Arguments: `connectorx` or `adbc`; the URI; a query; and the Parquet file, or nothing to discard the batches.
"""

import json
import resource
import sys
import time

import pyarrow.parquet as pq

# The same compression as ours.
PARQUET = {"compression": "zstd", "compression_level": 1}


def connectorx(uri, query, to):
    import connectorx as cx

    table = cx.read_sql(uri, query, return_type="arrow", protocol="binary")
    if to is not None:
        pq.write_table(table, to, **PARQUET)
    return table.num_rows


def adbc(uri, query, to):
    import adbc_driver_postgresql.dbapi as dbapi

    rows = 0
    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        with cursor.fetch_record_batch() as reader:
            writer = None if to is None else pq.ParquetWriter(to, reader.schema, **PARQUET)
            for batch in reader:
                rows += batch.num_rows
                if writer is not None:
                    writer.write_batch(batch)
            if writer is not None:
                writer.close()
    return rows


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


side, uri, query, *rest = sys.argv[1:]
# Loaded before the clock starts, as our modules are.
__import__({"connectorx": "connectorx", "adbc": "adbc_driver_postgresql.dbapi"}[side])
started, used = time.perf_counter(), processor_seconds()
rows = {"connectorx": connectorx, "adbc": adbc}[side](uri, query, rest[0] if rest else None)
print(
    json.dumps(
        {
            "seconds": time.perf_counter() - started,
            "processorSeconds": processor_seconds() - used,
            "rows": rows,
            "peakMegabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )
)
