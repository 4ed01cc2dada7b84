import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { KilledKind } from './killed.ts'

const KILLED = join(import.meta.dirname, 'killed.ts')
const KILLED_KEYS = join(import.meta.dirname, 'killed-keys.ts')

/** Runs a rotation in a process of its own, which is killed when it begins the step. */
export async function killAt(step: string, kind: KilledKind, record: object, options: object): Promise<void> {
  assert.equal(await signalOf(KILLED, [kind, record, options, step]), 'SIGKILL')
}

/** Work on API keys in a process of its own, which is killed before a write, or after it. */
export interface KilledWork {
  readonly place: string
  readonly options: object
  readonly action: 'generate' | 'rotate' | 'revoke'
}

/**
 * @param point 0: before the first write, 1: after it, 2: before the second one, …
 * @returns whether the process came to that point
 */
export async function killWrite(point: number, work: KilledWork): Promise<boolean> {
  const signal = await signalOf(KILLED_KEYS, [point, work])
  if (signal !== null) assert.equal(signal, 'SIGKILL')
  return signal !== null
}

/** The signal that ended the program; null where it ended by itself, with success. */
async function signalOf(program: string, args: readonly unknown[]): Promise<NodeJS.Signals | null> {
  const child = spawn(process.execPath, [program, JSON.stringify(args)], { stdio: ['ignore', 'inherit', 'inherit'] })
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  if (signal === null) assert.equal(code, 0)
  return signal
}
