"""A table in parts by Ray: `python ray_parts.py`. All nodes share the folder BRONZE, and have Node and
`npm install poolsmith pg apache-arrow` in the folder POOLSMITH."""

import json
import os
import subprocess

import ray

BRONZE, POOLSMITH = os.environ["BRONZE"], os.environ["POOLSMITH"]
PLAN = f"{BRONZE}/plan.json"


class TryAgain(Exception):
    """The same call may succeed later, or a signal has ended it."""


def poolsmith(*arguments: str) -> dict:
    command = ["node_modules/.bin/poolsmith", "extract", "sales", *arguments, "--json"]
    done = subprocess.run(command, cwd=POOLSMITH, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode < 0 or done.returncode in (75, 129, 130, 143):
        raise TryAgain(f"exit code {done.returncode}: {done.stdout}")
    if done.returncode != 0:
        raise RuntimeError(f"exit code {done.returncode}: {done.stdout}")
    return json.loads(done.stdout)


@ray.remote(max_retries=3, retry_exceptions=[TryAgain])
def read(number: int) -> int:
    return poolsmith("--partition", f"{PLAN}#{number}", "--to", BRONZE)["rows"]


ray.init()
parts = poolsmith("public.flights", "--partitions", "8", "--partition-by", "id", "--plan", PLAN)["partitions"]
ray.get([read.remote(number) for number in range(parts)])
print(poolsmith("--finish", PLAN, "--to", BRONZE)["rows"], "rows")
