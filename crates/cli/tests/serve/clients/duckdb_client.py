"""DuckDB reads segments as the Parquet files that they are. Argument: the folder of segments."""

import sys

import duckdb

files = f"{sys.argv[1]}/**/*.parquet"
connection = duckdb.connect()
columns = {row[0]: row[1] for row in connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [files]).fetchall()}
for name in ["@timestamp", "event.category", "event.ingested", "host.name", "process.name", "process.pid", "_id", "_source"]:
    assert name in columns, (name, columns)
query = """
    SELECT "process.name", count(*), min("process.pid"), max("process.pid")
    FROM read_parquet(?) GROUP BY ALL ORDER BY ALL
"""
print(connection.execute(query, [files]).fetchall())
times = connection.execute(
    'SELECT count(*) FROM read_parquet(?) WHERE "@timestamp" > TIMESTAMP \'2020-01-01\' AND "event.ingested" IS NOT NULL',
    [files],
).fetchone()
print(times[0])
sources = connection.execute("SELECT count(*) FROM read_parquet(?) WHERE json_valid(_source)", [files]).fetchone()
print(sources[0])
