/** Repeats what an example does: once by hand, and for SECONDS in the tests, which rotate the token meanwhile. */

import { env } from 'node:process'

/** The connection that every example uses: a URI, or the id of a connection. */
export const connection = env.DATABASE ?? 'postgres://postgres@localhost/postgres'

/** Runs `work` again and again; prints how often, and what failed. */
export async function rounds(work: (round: number) => Promise<unknown>): Promise<void> {
  const end = Date.now() + Number(env.SECONDS ?? 0) * 1000
  // A server that restarts may take longer than that, and so may three rounds on a busy machine.
  const last = end + (env.SECONDS === undefined ? 0 : 60_000)
  const failures: string[] = []
  console.log('rounds begin')
  let round = 0
  let isGood = true
  do {
    try {
      await work(round)
      isGood = true
    } catch (error) {
      failures.push(describe(error))
      isGood = false
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    round++
  } while (Date.now() < end || ((!isGood || round - failures.length < 3) && Date.now() < last))
  console.log(JSON.stringify({ rounds: round, endedWell: isGood, failures }))
  if (env.SECONDS === undefined && failures.length > 0) process.exitCode = 1
}

/** The message of an error and of its causes: layers wrap the error of the driver. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const own = `${(error as { code?: string }).code ?? ''} ${error.message}`.trim()
  return error.cause === undefined ? own : `${own} <- ${describe(error.cause)}`
}
