import assert from 'node:assert/strict'
import { PoolsmithError } from '../../src/errors.ts'
import { openStore } from '../../src/stores/kinds.ts'
import type { Store } from '../../src/stores/store.ts'
import type { RequestAgents } from '../../src/strategies/strategy.ts'

export interface Opening {
  readonly environment?: Readonly<Record<string, string>>
  readonly agents?: RequestAgents
}

/** A store by its settings, which keeps nothing. */
export function openSettings(
  settings: Readonly<Record<string, unknown>>,
  { environment = {}, agents }: Opening = {},
): Promise<Store> {
  const context = { environment, agents, cwd: '/', ttlMillis: 0, graceMillis: 0, subject: 'The store' }
  return openStore(settings, context)
}

/** The text of an entry that was found. */
export const textOf = async (found: Promise<{ readonly value: unknown } | undefined> | undefined): Promise<unknown> => {
  const value = (await found)?.value
  return typeof value === 'object' && value !== null && 'reveal' in value
    ? (value as { reveal(): string }).reveal()
    : value
}

/** The error of a look-up that must fail. */
export async function failureOf(promise: Promise<unknown> | undefined): Promise<PoolsmithError> {
  const error = await promise?.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  return error
}
