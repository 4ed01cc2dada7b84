import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { KilledKind } from './killed.ts'

const KILLED = join(import.meta.dirname, 'killed.ts')

/** Runs a rotation in a process of its own, which is killed when it begins the step. */
export async function killAt(step: string, kind: KilledKind, record: object, options: object): Promise<void> {
  const child = spawn(process.execPath, [KILLED, JSON.stringify([kind, record, options, step])], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const [, signal] = await once(child, 'exit')
  assert.equal(signal, 'SIGKILL')
}
