/** Connections that are damaged: the error of an engine, and all that can be seen of it. */

import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { describeConnection } from '../../src/connections/describe.ts'
import type { ConnectionInput } from '../../src/connections/parse.ts'
import { createEngine, type EngineOptions } from '../../src/engine/knex/create-engine.ts'
import { ConfigError, PoolsmithError } from '../../src/errors.ts'

export const PASSWORD = 'Zq9!kWv3#pLx7'
/** Far above any honest run of one case, and far below what quadratic work on a million characters takes. */
const LIMIT_MILLIS = 20_000

interface Outcome {
  readonly error: PoolsmithError | undefined
  /** All that can be seen of the error, or of the connection. */
  readonly shown: string
}

export async function outcomeOf(input: ConnectionInput, options: EngineOptions = {}): Promise<Outcome> {
  const startedAt = performance.now()
  const outcome = await engineOutcome(input, options)
  const took = performance.now() - startedAt
  assert.ok(took < LIMIT_MILLIS, `${inspect(input).slice(0, 200)} took ${Math.round(took)} ms`)
  for (const piece of [PASSWORD, PASSWORD.slice(0, 6), PASSWORD.slice(-6)]) {
    assert.ok(!outcome.shown.includes(piece), `shown: ${outcome.shown.slice(0, 500)}`)
  }
  return outcome
}

async function engineOutcome(input: ConnectionInput, options: EngineOptions): Promise<Outcome> {
  const warnings: unknown[] = []
  try {
    await using engine = await createEngine(input, {
      stores: { environment: {} },
      ...options,
      on: { 'config:warning': (warning) => warnings.push(warning) },
    })
    return { error: undefined, shown: describeConnection(engine.connection) + inspect([engine.connection, warnings]) }
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, inspect(error).slice(0, 2000))
    assert.equal(error.phase, 'config', error.message)
    assert.ok(error.message.length < 20_000, 'a message stays short')
    const causes = error.cause === undefined ? '' : inspect(error.cause, { depth: 9 })
    return { error, shown: [String(error), inspect(error, { depth: 9 }), JSON.stringify(error), causes].join('\n') }
  }
}

/** Each problem names a part of the connection. */
export function assertPaths(error: PoolsmithError | undefined, where: string): void {
  if (!(error instanceof ConfigError)) return
  for (const { path } of error.problems) {
    assert.match(path, /^(extra|host|port|login|password|database|type|id|description)\b/, `${where}: ${error.message}`)
  }
}
