"""A table of PostgreSQL into Parquet files, its parts spread over Airflow's workers.

One task plans, and one mapped task for each part reads it. A part that fails is tried again alone; one that is
complete is not read again. The plan and the files are in a folder that all workers share (DATA).

poolsmith finds the connection by its id if Airflow's environment variable AIRFLOW_CONN_SALES is set for the
tasks. A worker needs Node, and `npm install poolsmith pg apache-arrow` in POOLSMITH.
"""

import json
import os
import subprocess

import pendulum
from airflow.decorators import dag, task

DATA = os.environ.get("BRONZE", "/data")
POOLSMITH = os.environ.get("POOLSMITH", "/opt/poolsmith")
CONNECTION = "sales"
TABLE = "public.flights"
PARTITIONS = 8


def poolsmith(*arguments: str) -> dict:
    """Runs the command and returns what it prints under --json; its error is the task's."""
    done = subprocess.run(
        ["npx", "poolsmith", "extract", CONNECTION, *arguments, "--json"],
        cwd=POOLSMITH,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    answer = json.loads(done.stdout)
    if not answer["ok"]:
        error = answer["error"]
        raise RuntimeError(f"{error['code']}: {error['message']} {error.get('hint', '')}")
    return answer


@dag(schedule="@daily", start_date=pendulum.datetime(2024, 1, 1, tz="UTC"), catchup=False)
def flights_to_bronze():
    @task
    def plan(run_id: str, until: str) -> list[str]:
        """Divides the table; each part is then read at its own time (docs/extract.md, "The snapshot rule")."""
        file = f"{DATA}/plans/{run_id}.json"
        options = ["--partitions", str(PARTITIONS), "--format", "parquet", "--plan", file]
        # The parts are ranges of a column that never changes, of settled rows only: each row is read once.
        # The limit is a fixed moment: now() would differ in a part that is tried again after midnight.
        settled = ["--partition-by", "id", "--where", f"departed_at < '{until}'"]
        parts = poolsmith(TABLE, *options, *settled)["partitions"]
        return [f"{file}#{number}" for number in range(parts)]

    @task(retries=3, retry_delay=pendulum.duration(minutes=1))
    def read(partition: str) -> int:
        return poolsmith("--partition", partition, "--to", f"{DATA}/bronze")["rows"]

    @task
    def whole(rows: list[int]) -> None:
        """All parts are there: what comes after may begin."""
        print(f"{sum(rows)} rows in {len(rows)} files")

    whole(read.expand(partition=plan(run_id="{{ run_id }}", until="{{ data_interval_end }}")))


flights_to_bronze()
