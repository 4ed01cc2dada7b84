"""Reads files with the reader that is named and prints every value in one form, as JSON.

Standard input: {"reader": ..., "files": [{"path", "format", "columns": {name: kind}}]}.
Output: {"version": ..., "files": [{name: [text or null, ...]}, ...]}.

Forms: digits of integers and decimals, the bits of floating-point numbers, days since 1970, microseconds since 1970 (or
since midnight), bytes in hexadecimal, lists of such.
"""

import csv
import datetime
import decimal
import json
import math
import struct
import sys

EPOCH = datetime.date(1970, 1, 1)
MIDNIGHT = datetime.datetime(1970, 1, 1)
MICROSECOND = datetime.timedelta(microseconds=1)


def bits(layout, value):
    # JSON has no numbers for NaN and the infinities.
    value = float(value)
    return "nan" if math.isnan(value) else struct.pack(layout, value).hex()


def micros(value):
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime.time):
        value = datetime.datetime.combine(EPOCH, value)
    return str((value.replace(tzinfo=None) - MIDNIGHT) // MICROSECOND)


def days(value):
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime.datetime):
        value = value.date()
    return str((value - EPOCH).days)


FORMS = {
    "int": lambda value: str(int(value)),
    "decimal": lambda value: value if isinstance(value, str) else format(value, "f"),
    "float4": lambda value: bits(">f", value),
    "float8": lambda value: bits(">d", value),
    "bool": lambda value: "true" if value else "false",
    "text": str,
    "bytes": lambda value: value if isinstance(value, str) else bytes(value).hex(),
    "date": days,
    "time": micros,
    "timestamp": micros,
}


def form(kind, value):
    if value is None:
        return None
    if kind.endswith("[]"):
        return [form(kind[:-2], item) for item in value]
    return FORMS[kind](value)


def formed(columns, values):
    """values: name -> list of Python values"""
    return {name: [form(kind, value) for value in values[name]] for name, kind in columns.items()}


# The readers. Each takes a file and gives its columns in the forms above.


def from_arrow(table, columns):
    """Dates and instants as their integers: datetime has no year 0, no infinity and no year 10000."""
    import pyarrow as pa

    values = {}
    for name, kind in columns.items():
        column = table[name]
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if kind == "date":
            column = column.cast(pa.int32())
        elif kind == "time":
            divide = 1000 if column.type == pa.time64("ns") else 1
            values[name] = [None if v is None else v // divide for v in column.cast(pa.int64()).to_pylist()]
            continue
        elif kind == "timestamp":
            assert column.type.unit == "us", column.type
            column = column.cast(pa.int64())
        values[name] = column.to_pylist()
    return formed(columns, values)


def pyarrow(path, form, columns):
    import pyarrow.parquet

    if form == "arrow":
        return from_arrow(pyarrow.ipc.open_stream(path).read_all(), columns)
    return from_arrow(pyarrow.parquet.read_table(path, columns=list(columns)), columns)


def nanoarrow(path, form, columns):
    import nanoarrow
    import pyarrow

    return from_arrow(pyarrow.table(nanoarrow.ArrayStream.from_path(path)), columns)


def datafusion(path, form, columns):
    import pyarrow
    from datafusion import SessionContext

    frame = SessionContext().read_parquet(path).select(*[f'"{name}"' for name in columns])
    return from_arrow(pyarrow.Table.from_batches(frame.collect()), columns)


def polars(path, form, columns):
    import polars

    if form == "csv":
        frame = polars.read_csv(path, infer_schema=False)
        return {name: frame[name].to_list() for name in columns}
    if form == "jsonl":
        types = {"int": polars.Int64, "bool": polars.Boolean, "int[]": polars.List(polars.Int64)}
        types["text[]"] = polars.List(polars.String)
        schema = {name: types.get(kind, polars.String) for name, kind in columns.items()}
        frame = polars.read_ndjson(path, schema=schema)
        return formed(columns, {name: frame[name].to_list() for name in columns})
    frame = polars.read_parquet(path) if form == "parquet" else polars.read_ipc_stream(path)
    return from_arrow(frame.select(list(columns)).to_arrow(), columns)


def pandas(path, form, columns):
    import pandas

    if form == "csv":
        frame = pandas.read_csv(path, dtype=str, na_values=[""], keep_default_na=False)
        return {name: [None if pandas.isna(v) else v for v in frame[name]] for name in columns}
    frame = pandas.read_parquet(path, columns=list(columns), dtype_backend="numpy_nullable")
    return from_pandas(frame, columns)


def from_pandas(frame, columns):
    import pandas

    values = {}
    for name, kind in columns.items():
        column = frame[name]
        # Text and lists that are missing are NaN.
        missing = [
            v is None or v is pandas.NA or v is pandas.NaT or (isinstance(v, float) and kind[:5] != "float" and v != v)
            for v in column
        ]
        if kind in ("date", "timestamp") and str(column.dtype).startswith("datetime64"):
            numbers = column.astype("int64").tolist()
            scale = {"ns": 1000, "us": 1}[pandas.Series(column).dt.unit]
            numbers = [n // scale if kind == "timestamp" else n // scale // 86_400_000_000 for n in numbers]
        else:
            numbers = column.tolist()
        values[name] = [None if gone else v for gone, v in zip(missing, numbers)]
    return formed(columns, values)


def fastparquet(path, form, columns):
    from fastparquet import ParquetFile

    return from_pandas(ParquetFile(path).to_pandas(columns=list(columns)), columns)


DUCK_TYPES = {"int": "BIGINT", "bool": "BOOLEAN", "int[]": "BIGINT[]", "text[]": "VARCHAR[]"}


def duckdb(path, form, columns):
    import duckdb

    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")

    def finite(column, number, largest):
        endless = f"case when {column} > '2000-01-01' then {largest} else -{largest} end"
        return f"case when {column} is null then null when isfinite({column}) then {number} else {endless} end"

    def shown(name, kind):
        column = '"%s"' % name
        if form != "parquet":
            return column
        if kind == "date":
            return finite(column, f"{column} - date '1970-01-01'", 2**31 - 1)
        if kind == "timestamp":
            return finite(column, f"epoch_us({column})", 2**63 - 1)
        if kind == "time":
            return f"epoch_us({column})"
        if kind == "bytes":
            return f"lower(hex({column}))"
        return f"{column}::varchar" if kind == "decimal" else column

    if form == "csv":
        source = f"read_csv('{path}', header = true, all_varchar = true, allow_quoted_nulls = false)"
    elif form == "jsonl":
        types = ", ".join(f"'{name}': '{DUCK_TYPES.get(kind, 'VARCHAR')}'" for name, kind in columns.items())
        source = f"read_json('{path}', format = 'newline_delimited', columns = {{{types}}})"
    else:
        source = f"'{path}'"
    selected = ", ".join(shown(name, kind) for name, kind in columns.items())
    rows = connection.execute(f"select {selected} from {source}").fetchall()
    values = {name: [row[at] for row in rows] for at, name in enumerate(columns)}
    return values if form == "csv" else formed(columns, values)


def spark(path, form, columns):
    session = spark_session()

    def shown(name, kind):
        column = f"`{name}`"
        if kind == "date":
            return f"unix_date({column})"
        if kind == "timestamp":
            return f"unix_micros(cast({column} as timestamp_ltz))"
        if kind == "bytes":
            return f"lower(hex({column}))"
        return f"cast({column} as string)" if kind == "decimal" else column

    frame = session.read.parquet(path).selectExpr(*[shown(name, kind) for name, kind in columns.items()])
    rows = [list(row) for row in frame.collect()]
    return formed(columns, {name: [row[at] for row in rows] for at, name in enumerate(columns)})


def spark_session():
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "1",
    }
    builder = SparkSession.builder.master("local[1]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def python(path, form, columns):
    """Python's own modules."""
    if form == "csv":
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        return {name: [row[header.index(name)] or None for row in rows] for name in columns}
    with open(path, encoding="utf-8", newline="\n") as file:
        rows = [json.loads(line, parse_float=decimal.Decimal) for line in file]
    return formed(columns, {name: [row[name] for row in rows] for name in columns})


def main():
    request = json.load(sys.stdin)
    name = request["reader"]
    read = globals()[name]
    files = [read(file["path"], file["format"], file["columns"]) for file in request["files"]]
    from importlib.metadata import version

    known = sys.version.split()[0] if name == "python" else version({"spark": "pyspark"}.get(name, name))
    print(json.dumps({"version": known, "files": files}))


main()
