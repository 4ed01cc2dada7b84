"""A table of PostgreSQL into Parquet files, its parts spread over Airflow's workers. For Airflow 3.

One task plans, one mapped task for each part reads it, and one checks that all are complete. A part that fails is
tried again alone; one that is complete is not read again. The plan and the files are in a folder that all workers
share (BRONZE).

A worker needs Node, and `npm install poolsmith pg apache-arrow` in the folder POOLSMITH.
"""

import json
import os
import signal
import subprocess

import pendulum
from airflow.sdk import Connection, dag, task
from airflow.sdk.exceptions import AirflowFailException

BRONZE = os.environ.get("BRONZE", "/data")
POOLSMITH = os.environ.get("POOLSMITH", "/opt/poolsmith")
CONNECTION = "sales"
TABLE = "public.flights"
PARTITIONS = 8
TRY_AGAIN = 75


def poolsmith(*arguments: str) -> dict:
    """Runs `poolsmith extract` and returns its answer. Only an error that may pass is tried again."""
    done = subprocess.run(
        # Not by npx, which is a process between this one and poolsmith. When this process is killed, so is poolsmith.
        ["setpriv", "--pdeathsig", "TERM", "node_modules/.bin/poolsmith", "extract", CONNECTION, *arguments, "--json"],
        # A connection of Airflow's web page, of its secrets backend or of its environment.
        env={**os.environ, f"AIRFLOW_CONN_{CONNECTION.upper()}": Connection.get(CONNECTION).get_uri()},
        cwd=POOLSMITH,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode < 0:
        raise RuntimeError(f"poolsmith was killed by {signal.Signals(-done.returncode).name}")
    if not done.stdout:
        raise AirflowFailException(f"poolsmith ended with exit code {done.returncode}; the log above says why")
    answer = json.loads(done.stdout)
    if answer["ok"]:
        return answer
    error = answer["error"]
    message = f"{error['code']}: {error['message']} {error.get('hint', '')}"
    # From 128 on, a signal has ended it.
    is_worth_a_retry = done.returncode == TRY_AGAIN or done.returncode >= 128
    raise (RuntimeError if is_worth_a_retry else AirflowFailException)(message)


def plan_of(run_id: str) -> str:
    return f"{BRONZE}/plans/{run_id}.json"


RETRIES = {"retries": 3, "retry_delay": pendulum.duration(minutes=1)}


@dag(schedule="@daily", start_date=pendulum.datetime(2024, 1, 1, tz="UTC"), catchup=False, default_args=RETRIES)
def flights_to_bronze():
    @task
    def plan(run_id=None, dag_run=None, data_interval_end=None) -> list[str]:
        """Divides the table; each part is then read at its own time (docs/extract.md, "The snapshot rule")."""
        # A run that was triggered without a logical date has no data interval.
        until = (data_interval_end or dag_run.run_after).isoformat()
        # A plan that is there already is kept if nothing of it has changed: a run that is cleared reads only what is
        # missing. The limit is a moment of the run, since now() would differ in a part that is tried again.
        kept = ["--plan", plan_of(run_id), "--extracted-at", until]
        # The parts are ranges of a column that never changes, of settled rows only: each row is read once.
        settled = ["--partition-by", "id", "--where", f"departed_at < '{until}'"]
        answer = poolsmith(TABLE, "--partitions", str(PARTITIONS), "--format", "parquet", *kept, *settled)
        return [f"{plan_of(run_id)}#{number}" for number in range(answer["partitions"])]

    @task
    def read(part: str) -> int:
        return poolsmith("--partition", part, "--to", f"{BRONZE}/bronze")["rows"]

    @task
    def finish(run_id=None) -> int:
        """Checks that all parts are complete, and writes one manifest: what comes after may begin."""
        return poolsmith("--finish", plan_of(run_id), "--to", f"{BRONZE}/bronze")["rows"]

    read.expand(part=plan()) >> finish()


flights_to_bronze()
