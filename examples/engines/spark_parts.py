"""A table in parts by Spark: `spark-submit spark_parts.py`. All nodes share the folder BRONZE, and have Node and
`npm install poolsmith pg apache-arrow` in the folder POOLSMITH."""

import json
import os
import subprocess

from pyspark.sql import SparkSession

BRONZE, POOLSMITH = os.environ["BRONZE"], os.environ["POOLSMITH"]
PLAN = f"{BRONZE}/plan.json"


def poolsmith(*arguments: str) -> dict:
    command = ["node_modules/.bin/poolsmith", "extract", "sales", *arguments, "--json"]
    done = subprocess.run(command, cwd=POOLSMITH, stdout=subprocess.PIPE, text=True, check=False)
    # Spark runs a task that raises again (spark.task.maxFailures). So a permanent error is an answer.
    if done.returncode < 0 or done.returncode in (75, 129, 130, 143):
        raise RuntimeError(f"exit code {done.returncode}: {done.stdout}")
    return json.loads(done.stdout)


def checked(answer: dict) -> dict:
    if not answer["ok"]:
        raise SystemExit(f"{answer['error']['code']}: {answer['error']['message']}")
    return answer


def read(number: int) -> dict:
    return poolsmith("--partition", f"{PLAN}#{number}", "--to", BRONZE)


spark = SparkSession.builder.appName("flights").getOrCreate()
plan = poolsmith("public.flights", "--partitions", "8", "--partition-by", "id", "--plan", PLAN)
parts = checked(plan)["partitions"]
for answer in spark.sparkContext.parallelize(range(parts), parts).map(read).collect():
    checked(answer)
print(checked(poolsmith("--finish", PLAN, "--to", BRONZE))["rows"], "rows")
