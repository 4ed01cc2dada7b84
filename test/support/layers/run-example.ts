/** Runs the examples of data layers in processes of their own, with a token that is renewed every two seconds. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..', '..', '..')
const LAYERS = join(ROOT, 'examples', 'layers')
const SECONDS = 10

/**
 * The errors of a statement whose session ended with the server, and of a new session while it is down. P2028 is
 * Prisma's own limit for the wait for a session.
 */
export const LOST =
  /57P0[123]|08006|08003|CONNECTION_LOST|terminat|ECONNRESET|EPIPE|ESOCKET|closed the connection|not queryable|CONNECT_REFUSED|CONNECT_TIMEOUT|CONNECTION_CLOSED|SERVER_NOT_READY|P2028/i

export interface Outcome {
  readonly rounds: number
  /** Whether the last round succeeded. */
  readonly endedWell: boolean
  readonly failures: readonly string[]
}

export interface RunningExample {
  readonly name: string
  /** Resolves when its rounds begin. */
  readonly begun: Promise<unknown>
  readonly outcome: Promise<Outcome>
}

/** Runs one example for its seconds. */
export function runExample(name: string, database: string): RunningExample {
  const preload = ['self-import.ts', 'layers/preload.ts'].map((file) => `--import=${join(ROOT, 'test/support', file)}`)
  const child = spawn(process.execPath, [...preload, join(LAYERS, name)], {
    cwd: LAYERS,
    env: { PATH: process.env.PATH, DATABASE: database, SECONDS: String(SECONDS) },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 120_000,
  })
  let output = ''
  let complaints = ''
  const begun = Promise.withResolvers<void>()
  child.stdout.on('data', (chunk) => {
    output += chunk
    if (output.includes('rounds begin')) begun.resolve()
  })
  child.stderr.on('data', (chunk) => {
    complaints += chunk
  })
  const outcome = once(child, 'close').then(([code]) => {
    begun.resolve()
    const line = output.split('\n').find((text) => text.startsWith('{"rounds"'))
    assert.equal(code, 0, `${name} ended with ${code}:\n${output}${complaints}`)
    assert.ok(line !== undefined, `${name} said nothing:\n${output}${complaints}`)
    return JSON.parse(line) as Outcome
  })
  outcome.catch(() => undefined)
  return { name, begun: begun.promise, outcome }
}

/** Waits until all examples are in their rounds, and does something then. */
export async function runAll(
  running: readonly RunningExample[],
  meanwhile: () => Promise<void> = async () => undefined,
): Promise<Map<string, Promise<Outcome>>> {
  await Promise.all(running.map(({ begun }) => begun))
  await meanwhile()
  return new Map(running.map(({ name, outcome }) => [name, outcome]))
}
